// Gives a stylized face the colors of the face that it replaces, as task_bundle.runtime.compositing.

import { Raster } from "./resampling.js";

const MAX_GAIN = 2;
const LEAST_SPREAD = 1e-3;
// CIE Lab with the constants of OpenCV, for sRGB and the white D65.
const TO_XYZ = [
  [0.412453 / 0.950456, 0.35758 / 0.950456, 0.180423 / 0.950456],
  [0.212671, 0.71516, 0.072169],
  [0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754],
];
const TO_RGB = [
  [3.240479 * 0.950456, -1.53715, -0.498535 * 1.088754],
  [-0.969256 * 0.950456, 1.875991, 0.041556 * 1.088754],
  [0.055648 * 0.950456, -0.204043, 1.057311 * 1.088754],
];
const SMALL = 0.008856;
const SLOPE = 7.787;
const OFFSET = 16 / 116;

/**
 * Returns a raster with the mean and the spread of the colors of the original face, in CIE Lab.
 *
 * Source: Reinhard et al., "Color Transfer between Images" (2001); gains are limited.
 *
 * @param picture - the stylized picture, a raster of three channels in [0, 255].
 * @param original - the aligned face, as large as the square in the picture's middle.
 * @param mask - the mask of the face in that square, of any size.
 * @param isInside - a function of x and y: whether that pixel of the square lies in the photo.
 */
export function matched(picture, original, mask, isInside) {
  const side = original.width;
  const lab = converted(picture, toLab);
  const [left, top] = [(picture.width - side) >> 1, (picture.height - side) >> 1];
  const where = [];
  const scale = mask.width / side;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const alpha = mask.linear((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5);
      if (alpha > 0.5 && isInside(x, y)) where.push([x, y]);
    }
  }
  if (!where.length) return picture;
  const wanted = statistics(
    converted(original, toLab),
    where.map(([x, y]) => y * side + x),
  );
  const own = statistics(
    lab,
    where.map(([x, y]) => (y + top) * picture.width + x + left),
  );
  const gains = own.map(({ spread }, channel) => {
    const gain = wanted[channel].spread / Math.max(spread, LEAST_SPREAD);
    return Math.min(Math.max(gain, 1 / MAX_GAIN), MAX_GAIN);
  });
  for (let i = 0; i < lab.data.length; i++) {
    const channel = i % 3;
    lab.data[i] = (lab.data[i] - own[channel].mean) * gains[channel] + wanted[channel].mean;
  }
  return converted(lab, toColor);
}

/** Mean and standard deviation of each channel over some pixels. */
function statistics({ data }, pixels) {
  return [0, 1, 2].map((channel) => {
    let [sum, squares] = [0, 0];
    for (const pixel of pixels) {
      const value = data[3 * pixel + channel];
      sum += value;
      squares += value * value;
    }
    const mean = sum / pixels.length;
    return { mean, spread: Math.sqrt(Math.max(squares / pixels.length - mean * mean, 0)) };
  });
}

function converted(raster, convert) {
  const result = new Raster(raster.width, raster.height, 3);
  for (let i = 0; i < result.data.length; i += 3) convert(raster.data, result.data, i);
  return result;
}

function toLab(from, to, i) {
  const [r, g, b] = [linear(from[i]), linear(from[i + 1]), linear(from[i + 2])];
  const [x, y, z] = TO_XYZ.map((row) => row[0] * r + row[1] * g + row[2] * b);
  const [fx, fy, fz] = [root(x), root(y), root(z)];
  to[i] = 116 * fy - 16;
  to[i + 1] = 500 * (fx - fy);
  to[i + 2] = 200 * (fy - fz);
}

function toColor(from, to, i) {
  const fy = (from[i] + 16) / 116;
  const [x, y, z] = [cube(fy + from[i + 1] / 500), cube(fy), cube(fy - from[i + 2] / 200)];
  TO_RGB.forEach((row, channel) => {
    to[i + channel] = encoded(row[0] * x + row[1] * y + row[2] * z);
  });
}

function root(t) {
  return t > SMALL ? Math.cbrt(t) : SLOPE * t + OFFSET;
}

function cube(f) {
  return f > Math.cbrt(SMALL) ? f ** 3 : (f - OFFSET) / SLOPE;
}

/** From sRGB in [0, 255] to light in [0, 1]. */
function linear(value) {
  const c = value / 255;
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
}

/** From light to sRGB in [0, 255]. */
function encoded(light) {
  const c = Math.min(Math.max(light, 0), 1);
  return 255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);
}
