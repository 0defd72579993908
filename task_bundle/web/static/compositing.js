// Pastes stylized heads into the photo, computed as in task_bundle.runtime.compositing.

import { matched } from "./color_match.js";
import { cropMatrix } from "./face_crop.js";
import { Raster } from "./resampling.js";

const FEATHER = 0.07;
const MESH_POINTS = 468;
const MAX_MASK_SIDE = 256;
const MAX_SOFTENING = 0.7;
// How far the outline of the mesh is stretched sideways, up and down from the crop's center.
const FACE_STRETCH = [1, 1.28, 1];
const HEAD_STRETCH = [1.8, 2.4, 1];
const HEAD_FEATHER = 2;
const [LEAST_SURE, MOST_SURE] = [0.5, 0.95];

/** The side of the pictures in which the person is found, and of a head's mask. */
export const PERSON_SIDE = 256;

/** Crops the face out of a photo, a canvas, into a new canvas. It is black outside the photo. */
export function alignedFace(photo, crop, { width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, width, height);
  // Bilinear, and as in MediaPipe not antialiased where the crop is much smaller than the face.
  context.imageSmoothingQuality = "low";
  context.setTransform(onCanvas(cropMatrix(crop, canvas)));
  context.drawImage(photo, 0, 0);
  return canvas;
}

/**
 * Draws the photo with the stylized heads pasted in.
 *
 * @param canvas - the canvas to draw on, which gets the size of the photo.
 * @param photo - a canvas.
 * @param faces - for each face `picture`, a canvas with the stylized crop; `landmarks`, [x, y] in
 *   pixels of the photo; `crop`, from `cropOf`; and `person`, the share of the person in each pixel
 *   of the aligned face of PERSON_SIDE pixels, or null to paste the face alone.
 * @param matchColors - whether heads get the colors of the faces that they replace.
 */
export function composite(canvas, photo, faces, matchColors) {
  const context = sized(canvas, photo);
  context.drawImage(photo, 0, 0);
  for (const layer of layers(photo, faces, matchColors)) {
    const { area } = layer;
    const image = context.getImageData(area.x, area.y, area.width, area.height);
    lay(image.data, layer, (pixels, at, alpha, color) => {
      for (let channel = 0; channel < 3; channel++) {
        const below = pixels[at + channel];
        pixels[at + channel] = below + alpha * (color[channel] - below);
      }
    });
    context.putImageData(image, area.x, area.y);
  }
}

/** Draws the stylized heads alone on a transparent canvas of the photo's size; see `composite`. */
export function cutout(canvas, photo, faces, matchColors) {
  const context = sized(canvas, photo);
  for (const layer of layers(photo, faces, matchColors)) {
    const { area } = layer;
    const image = context.getImageData(area.x, area.y, area.width, area.height);
    lay(image.data, layer, (pixels, at, alpha, color) => {
      const remaining = (pixels[at + 3] / 255) * (1 - alpha);
      const opacity = alpha + remaining;
      for (let channel = 0; channel < 3; channel++) {
        pixels[at + channel] =
          (alpha * color[channel] + remaining * pixels[at + channel]) / opacity;
      }
      pixels[at + 3] = 255 * opacity;
    });
    context.putImageData(image, area.x, area.y);
  }
}

/** Computes the convex hull of points with Andrew's monotone chain algorithm. */
export function convexHull(points) {
  const sorted = [...points].sort(([x, y], [u, v]) => x - u || y - v);
  const half = (ordered) => {
    const chain = [];
    for (const point of ordered) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

function sized(canvas, { width, height }) {
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

/** Returns what is pasted, the smaller heads first: the larger one is closer to the camera. */
function* layers(photo, faces, matchColors) {
  for (const face of [...faces].sort((one, other) => one.crop.side - other.crop.side)) {
    const { picture, crop, landmarks, person } = face;
    const area = extent(crop, photo.width, photo.height);
    if (!area) continue;
    let raster = Raster.fromCanvas(picture);
    if (matchColors) {
      const side = Math.min(raster.width, raster.height);
      const original = Raster.fromCanvas(alignedFace(photo, crop, { width: side, height: side }));
      raster = matched(raster, original, faceMask(landmarks, crop), insideOf(photo, crop, side));
    }
    const mask = person ? headMask(landmarks, crop, person) : faceMask(landmarks, crop);
    yield { area, mask, toMask: cropMatrix(crop, mask), ...scaled(raster, crop) };
  }
}

/** Calls `blend(pixels, at, alpha, color)` for the pixels of the layer's area. */
function lay(pixels, { area, mask, toMask, colors, toColors }, blend) {
  // As local variables, because reading them from a DOMMatrix for a million pixels is slow.
  const { a, b, c, d, e, f } = toMask;
  const { a: A, b: B, c: C, d: D, e: E, f: F } = toColors;
  const color = new Float64Array(3);
  let at = 0;
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++, at += 4) {
      const alpha = mask.linear(a * x + c * y + e, b * x + d * y + f);
      if (alpha <= 0) continue;
      colors.cubic(A * x + C * y + E, B * x + D * y + F, color);
      blend(pixels, at, alpha, color);
    }
  }
}

/** Returns whether a pixel of the aligned face of `side` pixels lies inside the photo. */
function insideOf(photo, crop, side) {
  const { a, b, c, d, e, f } = cropMatrix(crop, { width: side, height: side }).inverse();
  return (x, y) => {
    const [across, down] = [a * x + c * y + e, b * x + d * y + f];
    return across >= 0 && down >= 0 && across <= photo.width - 1 && down <= photo.height - 1;
  };
}

/**
 * Smooths or shrinks the stylized picture as its scaling in the photo needs it.
 *
 * Returns a raster, and the matrix from the photo's pixels to the raster's.
 */
function scaled(raster, crop) {
  const matrix = cropMatrix(crop, raster);
  const { width, height } = raster;
  const enlargement = crop.side / Math.min(width, height);
  if (enlargement > 1) {
    const sigma = MAX_SOFTENING * Math.min(enlargement - 1, 1);
    return { colors: raster.blurred(sigma, 2), toColors: matrix };
  }
  const size = [width, height].map((side) => Math.max(Math.round(enlargement * side), 1));
  const [x, y] = [size[0] / width, size[1] / height];
  // This maps pixel centers to pixel centers.
  const shrinking = new DOMMatrix([x, 0, 0, y, (x - 1) / 2, (y - 1) / 2]);
  return { colors: raster.shrunk(...size), toColors: shrinking.multiply(matrix) };
}

/** Returns the rectangle of the photo that the crop touches, in pixels; null if it is empty. */
function extent(crop, width, height) {
  // The scale is that of the photo. Interpolation reaches one pixel beyond the crop.
  const inverse = cropMatrix(crop, { width: crop.side, height: crop.side }).inverse();
  const ends = [-1, crop.side + 1];
  const corners = ends.flatMap((x) => ends.map((y) => inverse.transformPoint({ x, y })));
  const [left, right] = range(corners.map((corner) => corner.x), width);
  const [top, bottom] = range(corners.map((corner) => corner.y), height);
  return right > left && bottom > top
    ? { x: left, y: top, width: right - left, height: bottom - top }
    : null;
}

/** Returns the smallest range of integers in [0, limit] that encloses the values. */
function range(values, limit) {
  const clip = (value) => Math.min(Math.max(value, 0), limit);
  return [clip(Math.floor(Math.min(...values))), clip(Math.ceil(Math.max(...values)) + 1)];
}

/** Draws the alpha mask of a face in its crop, in [0, 1]. */
function faceMask(landmarks, crop) {
  const side = Math.round(Math.min(Math.max(crop.side, 1), MAX_MASK_SIDE));
  return drawn(landmarks, crop, side, FEATHER, FACE_STRETCH);
}

/** Draws the alpha mask of a head and its hair in its crop, in [0, 1]. */
function headMask(landmarks, crop, person) {
  const side = PERSON_SIDE;
  const mask = drawn(landmarks, crop, side, HEAD_FEATHER * FEATHER, HEAD_STRETCH);
  const oval = drawn(landmarks, crop, side, FEATHER, FACE_STRETCH);
  for (let i = 0; i < mask.data.length; i++) {
    const sure = (person[i] - LEAST_SURE) / (MOST_SURE - LEAST_SURE);
    mask.data[i] *= Math.max(Math.min(Math.max(sure, 0), 1), oval.data[i]);
  }
  return mask;
}

/** Draws the outline of the mesh with a soft edge. */
function drawn(landmarks, crop, side, feather, stretch) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fill(outline(landmarks, crop, side, stretch));
  const { data } = context.getImageData(0, 0, side, side);
  const mask = new Raster(side, side, 1);
  // The Gaussian is truncated at two sigma, so that the edge is exactly as wide as asked for.
  const sigma = (feather * side) / 4;
  const reach = Math.ceil(2 * sigma);
  const border = reach + 1;
  for (let y = border; y < side - border; y++) {
    for (let x = border; x < side - border; x++) {
      mask.data[y * side + x] = data[4 * (y * side + x) + 3] / 255;
    }
  }
  return mask.blurred(sigma, reach);
}

/** Returns the outline of the face mesh as a path in the crop, stretched from the center. */
function outline(landmarks, crop, side, [across, up, down]) {
  const matrix = cropMatrix(crop, { width: side, height: side });
  const half = side / 2;
  const points = landmarks.slice(0, MESH_POINTS).map(([x, y]) => {
    const point = matrix.transformPoint({ x, y });
    const above = point.y - half;
    return [half + across * (point.x - half), half + above * (above < 0 ? up : down)];
  });
  const path = new Path2D();
  for (const [x, y] of convexHull(points)) path.lineTo(x + 0.5, y + 0.5);
  path.closePath();
  return path;
}

/** Converts a matrix for pixel centers to a canvas, where integers are corners of pixels. */
function onCanvas(matrix) {
  return new DOMMatrix().translate(0.5, 0.5).multiply(matrix).translate(-0.5, -0.5);
}

/** The cross product of the vectors from the first point to the others. */
function turn([x, y], [u, v], [s, t]) {
  return (u - x) * (t - y) - (v - y) * (s - x);
}
