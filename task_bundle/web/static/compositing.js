// Pasting the stylized face back into the photo, with the arithmetic of task_bundle.runtime.compositing.

import { cropMatrix } from "./face_crop.js";
import { Raster } from "./resampling.js";

const FEATHER = 0.07;
const MESH_POINTS = 468;
const MAX_MASK_SIDE = 256;
const FOREHEAD_STRETCH = 1.28;
const MAX_SOFTENING = 0.7;

/** Cuts the face out of a photo, which is a canvas, black where the photo ends. */
export function alignedFace(photo, crop, { width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, width, height);
  // Bilinear, without smoothing where the crop is much smaller than the face, as MediaPipe's.
  context.imageSmoothingQuality = "low";
  context.setTransform(onCanvas(cropMatrix(crop, canvas)));
  context.drawImage(photo, 0, 0);
  return canvas;
}

/**
 * Draws the photo and the face over it.
 *
 * Takes the canvas to draw on, which becomes as big as the photo; the photo and the picture of the
 * face, both canvases; and where the face belongs: its landmarks and its crop.
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
  const { colours, toColours } = colouring(picture, crop);
  const image = photo.getContext("2d").getImageData(area.x, area.y, area.width, area.height);
  paste(image.data, area, mask, cropMatrix(crop, mask), colours, toColours);
  context.putImageData(image, area.x, area.y);
}

/** Lays the colours over the pixels of an area, each as far as the mask says. */
function paste(pixels, area, mask, toMask, colours, toColours) {
  // Plain numbers: matrices are asked for each of theirs, and there may be a million pixels.
  const { a, b, c, d, e, f } = toMask;
  const { a: A, b: B, c: C, d: D, e: E, f: F } = toColours;
  const colour = new Float64Array(3);
  let at = 0;
  for (let y = area.y; y < area.y + area.height; y++) {
    for (let x = area.x; x < area.x + area.width; x++, at += 4) {
      const alpha = mask.linear(a * x + c * y + e, b * x + d * y + f);
      if (alpha <= 0) continue;
      colours.cubic(A * x + C * y + E, B * x + D * y + F, colour);
      for (let channel = 0; channel < 3; channel++) {
        const below = pixels[at + channel];
        pixels[at + channel] = below + alpha * (colour[channel] - below);
      }
    }
  }
}

/** The face's picture, smoothed as the change of its size needs it, and the matrix to it. */
function colouring(picture, crop) {
  const raster = Raster.fromCanvas(picture);
  const matrix = cropMatrix(crop, raster);
  const { width, height } = raster;
  const enlargement = crop.side / Math.min(width, height);
  if (enlargement > 1) {
    const sigma = MAX_SOFTENING * Math.min(enlargement - 1, 1);
    return { colours: raster.blurred(sigma, 2), toColours: matrix };
  }
  const size = [width, height].map((side) => Math.max(Math.round(enlargement * side), 1));
  const [x, y] = [size[0] / width, size[1] / height];
  // Of a pixel, the middle stays the middle.
  const shrinking = new DOMMatrix([x, 0, 0, y, (x - 1) / 2, (y - 1) / 2]);
  return { colours: raster.shrunk(...size), toColours: shrinking.multiply(matrix) };
}

/** The part of the photo, in pixels, that the crop touches; null if there is none. */
function extent(crop, width, height) {
  // At the photo's own scale, and a pixel wider, since interpolation reaches that far.
  const inverse = cropMatrix(crop, { width: crop.side, height: crop.side }).inverse();
  const ends = [-1, crop.side + 1];
  const corners = ends.flatMap((x) => ends.map((y) => inverse.transformPoint({ x, y })));
  const [left, right] = range(corners.map((corner) => corner.x), width);
  const [top, bottom] = range(corners.map((corner) => corner.y), height);
  return right > left && bottom > top
    ? { x: left, y: top, width: right - left, height: bottom - top }
    : null;
}

/** The whole numbers that enclose the values, from 0 to a limit. */
function range(values, limit) {
  const clip = (value) => Math.min(Math.max(value, 0), limit);
  return [clip(Math.floor(Math.min(...values))), clip(Math.ceil(Math.max(...values)) + 1)];
}

/** Draws how much of each pixel of the crop the pasted face covers, from 0 to 1. */
function faceMask(landmarks, crop) {
  const side = Math.round(Math.min(Math.max(crop.side, 1), MAX_MASK_SIDE));
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fill(outline(landmarks, crop, side));
  const drawn = context.getImageData(0, 0, side, side).data;
  const mask = new Raster(side, side, 1);
  // A Gaussian cut off at two sigma: the edge has an end.
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

/** The face mesh's outline, its forehead stretched towards the hair, as a path in the crop. */
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

/** To a canvas a whole coordinate is the upper left corner of a pixel, not its middle. */
function onCanvas(matrix) {
  return new DOMMatrix().translate(0.5, 0.5).multiply(matrix).translate(-0.5, -0.5);
}

/** Andrew's monotone chain. */
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

function turn([x, y], [u, v], [s, t]) {
  return (u - x) * (t - y) - (v - y) * (s - x);
}
