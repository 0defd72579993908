// Pastes the stylized face into the photo, computed as in task_bundle.runtime.compositing.

import { cropMatrix } from "./face_crop.js";
import { Raster } from "./resampling.js";

const FEATHER = 0.07;
const MESH_POINTS = 468;
const MAX_MASK_SIDE = 256;
const FOREHEAD_STRETCH = 1.28;
const MAX_SOFTENING = 0.7;

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
 * Draws the photo with the stylized face pasted in.
 *
 * @param canvas - the canvas to draw on, which gets the size of the photo.
 * @param photo - a canvas.
 * @param picture - a canvas with the stylized face.
 * @param landmarks - the landmarks of the face, [x, y] in pixels of the photo.
 * @param crop - the crop of the face, from `cropOf`.
 */
export function composite(canvas, photo, picture, landmarks, crop) {
  const { width, height } = photo;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0);
  const area = extent(crop, width, height);
  if (!area) return;
  const mask = faceMask(landmarks, crop);
  const { colors, toColors } = scaled(picture, crop);
  const image = photo.getContext("2d").getImageData(area.x, area.y, area.width, area.height);
  paste(image.data, area, mask, cropMatrix(crop, mask), colors, toColors);
  context.putImageData(image, area.x, area.y);
}

/** Blends the colors into the pixels of an area, with the mask as alpha. */
function paste(pixels, area, mask, toMask, colors, toColors) {
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
      for (let channel = 0; channel < 3; channel++) {
        const below = pixels[at + channel];
        pixels[at + channel] = below + alpha * (color[channel] - below);
      }
    }
  }
}

/**
 * Smooths or shrinks the stylized picture as its scaling in the photo needs it.
 *
 * Returns a raster, and the matrix from the photo's pixels to the raster's.
 */
function scaled(picture, crop) {
  const raster = Raster.fromCanvas(picture);
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

/** Draws the alpha mask of the face in its crop, in [0, 1]. */
function faceMask(landmarks, crop) {
  const side = Math.round(Math.min(Math.max(crop.side, 1), MAX_MASK_SIDE));
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fill(outline(landmarks, crop, side));
  const drawn = context.getImageData(0, 0, side, side).data;
  const mask = new Raster(side, side, 1);
  // The Gaussian is truncated at two sigma, so that the edge is exactly as wide as asked for.
  const sigma = (FEATHER * side) / 4;
  const reach = Math.ceil(2 * sigma);
  const border = reach + 1;
  for (let y = border; y < side - border; y++) {
    for (let x = border; x < side - border; x++) {
      mask.data[y * side + x] = drawn[4 * (y * side + x) + 3] / 255;
    }
  }
  return mask.blurred(sigma, reach);
}

/** Returns the outline of the face mesh as a path in the crop, with the forehead extended. */
function outline(landmarks, crop, side) {
  const matrix = cropMatrix(crop, { width: side, height: side });
  const points = landmarks.slice(0, MESH_POINTS).map(([x, y]) => {
    const point = matrix.transformPoint({ x, y });
    const above = point.y - side / 2;
    return [point.x, side / 2 + above * (above < 0 ? FOREHEAD_STRETCH : 1)];
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

/** Computes the convex hull with Andrew's monotone chain algorithm. */
function convexHull(points) {
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

/** The cross product of the vectors from the first point to the others. */
function turn([x, y], [u, v], [s, t]) {
  return (u - x) * (t - y) - (v - y) * (s - x);
}
