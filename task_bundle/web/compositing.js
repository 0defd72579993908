// Pasting the stylized face back into the photo, as task_bundle.compositing does: the same outline,
// the same soft edge, at the same place. Canvases do the resampling.

import { cropMatrix } from "./face_crop.js";

const FEATHER = 0.07;
const MESH_POINTS = 468;
const MAX_MASK_SIDE = 256;
const FOREHEAD_STRETCH = 1.28;

/** Cuts the face out of a photo, which is a canvas, black where the photo ends. */
export function alignedFace(photo, crop, { width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, width, height);
  // Bilinear, without smoothing where the crop is much smaller than the face, as MediaPipe's.
  context.imageSmoothingQuality = "low";
  context.setTransform(cropMatrix(crop, canvas));
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
  const layer = new OffscreenCanvas(area.width, area.height);
  const face = layer.getContext("2d");
  const place = (source) => {
    const back = cropMatrix(crop, source).inverse();
    face.setTransform(new DOMMatrix().translate(-area.x, -area.y).multiply(back));
    face.drawImage(source, 0, 0);
  };
  face.imageSmoothingQuality = "high";
  place(picture);
  face.imageSmoothingQuality = "low";
  face.globalCompositeOperation = "destination-in";
  place(faceMask(landmarks, crop));
  context.drawImage(layer, area.x, area.y);
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
  return [clip(Math.floor(Math.min(...values))), clip(Math.ceil(Math.max(...values)))];
}

/** Draws how much of each pixel of the crop the pasted face covers, as a canvas's alpha. */
function faceMask(landmarks, crop) {
  const side = Math.round(Math.min(Math.max(crop.side, 1), MAX_MASK_SIDE));
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fill(outline(landmarks, cropMatrix(crop, canvas), side));
  const image = context.getImageData(0, 0, side, side);
  const mask = Float32Array.from({ length: side * side }, (_, i) => image.data[4 * i + 3] / 255);
  // A Gaussian cut off at two sigma: the edge has an end.
  const sigma = (FEATHER * side) / 4;
  const reach = Math.ceil(2 * sigma);
  clearBorder(mask, side, reach + 1);
  blur(mask, side, sigma, reach).forEach((value, i) => {
    image.data[4 * i + 3] = Math.round(255 * value);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The face mesh's outline, its forehead stretched towards the hair, as a path in the crop. */
function outline(landmarks, matrix, side) {
  const points = landmarks.slice(0, MESH_POINTS).map(([x, y]) => {
    const point = matrix.transformPoint({ x: x + 0.5, y: y + 0.5 });
    const above = point.y - 0.5 - side / 2;
    return [point.x, side / 2 + 0.5 + above * (above < 0 ? FOREHEAD_STRETCH : 1)];
  });
  const path = new Path2D();
  for (const [x, y] of convexHull(points)) path.lineTo(x, y);
  path.closePath();
  return path;
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

function clearBorder(mask, side, border) {
  for (let i = 0; i < side; i++) {
    for (let j = 0; j < border && j < side; j++) {
      const end = side - 1 - j;
      mask[j * side + i] = mask[end * side + i] = mask[i * side + j] = mask[i * side + end] = 0;
    }
  }
}

/** Convolves with a Gaussian along rows and then along columns. The mask's border is 0. */
function blur(mask, side, sigma, reach) {
  if (reach === 0) return mask;
  const weight = (offset) => Math.exp(-(offset ** 2) / (2 * sigma ** 2));
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => weight(i - reach));
  const sum = weights.reduce((total, weight) => total + weight);
  const along = (source, step, stride) => {
    const target = new Float32Array(side * side);
    for (let line = 0; line < side; line++) {
      for (let i = reach; i < side - reach; i++) {
        const at = line * stride + i * step;
        let value = 0;
        for (let k = -reach; k <= reach; k++) value += weights[k + reach] * source[at + k * step];
        target[at] = value / sum;
      }
    }
    return target;
  };
  return along(along(mask, 1, side), side, 1);
}
