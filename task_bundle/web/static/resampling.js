// Pictures as arrays of floats, resampled as in task_bundle.runtime.compositing. Canvases could
// resample, too, but the result depends on the browser.

// The parameter of bicubic interpolation, with OpenCV's value.
const CUBIC_PARAMETER = -0.75;

/** A picture. `data` has `channels` values for each pixel, row by row. */
export class Raster {
  constructor(width, height, channels, data = new Float32Array(width * height * channels)) {
    Object.assign(this, { width, height, channels, data });
  }

  /** Copies the colors of a canvas, in [0, 255]. */
  static fromCanvas(canvas) {
    const { width, height } = canvas;
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    const raster = new Raster(width, height, 3);
    for (let i = 0, j = 0; i < raster.data.length; i += 3, j += 4) {
      raster.data[i] = pixels[j];
      raster.data[i + 1] = pixels[j + 1];
      raster.data[i + 2] = pixels[j + 2];
    }
    return raster;
  }

  /** Convolves with a Gaussian, truncated at `reach` pixels. The border is reflected. */
  blurred(sigma, reach) {
    const mirror = (i, size) => (i < 0 ? -i : i >= size ? 2 * size - 2 - i : i);
    const weights = Array.from({ length: 2 * reach + 1 }, (_, i) =>
      Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)),
    );
    const sum = weights.reduce((total, weight) => total + weight);
    return this.#separably(this.width, this.height, (i, size) => ({
      sources: weights.map((_, k) => Math.min(Math.max(mirror(i + k - reach, size), 0), size - 1)),
      weights: weights.map((weight) => weight / sum),
    }));
  }

  /** Returns a smaller raster, in which each pixel is the mean of the area that it covers. */
  shrunk(width, height) {
    return this.#separably(width, height, (i, size, newSize) => {
      const scale = size / newSize;
      const [start, end] = [i * scale, Math.min((i + 1) * scale, size)];
      const sources = [];
      const weights = [];
      for (let j = Math.floor(start); j < end; j++) {
        sources.push(j);
        weights.push((Math.min(j + 1, end) - Math.max(j, start)) / (end - start));
      }
      return { sources, weights };
    });
  }

  /** Filters rows, then columns; `taps(i, size, newSize)` are sources and weights of pixel i. */
  #separably(width, height, taps) {
    const across = Array.from({ length: width }, (_, i) => taps(i, this.width, width));
    const down = Array.from({ length: height }, (_, i) => taps(i, this.height, height));
    const middle = new Raster(width, this.height, this.channels);
    filterLines(this, middle, across, this.height, this.channels, this.width * this.channels);
    const result = new Raster(width, height, this.channels);
    filterLines(middle, result, down, width, width * this.channels, this.channels);
    return result;
  }

  /** Samples a raster of one channel bilinearly. Its border must be 0, as the outside is. */
  linear(x, y) {
    const { width, height, data } = this;
    const left = Math.floor(x);
    const top = Math.floor(y);
    if (left < 0 || top < 0 || left >= width - 1 || top >= height - 1) return 0;
    const [right, below] = [x - left, y - top];
    const at = top * width + left;
    return (
      (1 - below) * ((1 - right) * data[at] + right * data[at + 1]) +
      below * ((1 - right) * data[at + width] + right * data[at + width + 1])
    );
  }

  /** Samples a raster of three channels bicubically into `color`. The border is replicated. */
  cubic(x, y, color) {
    const left = Math.floor(x);
    const top = Math.floor(y);
    cubicWeights(x - left, ACROSS);
    cubicWeights(y - top, DOWN);
    let [red, green, blue] = [0, 0, 0];
    for (let j = 0; j < 4; j++) {
      const row = Math.min(Math.max(top + j - 1, 0), this.height - 1) * this.width;
      for (let i = 0; i < 4; i++) {
        const at = 3 * (row + Math.min(Math.max(left + i - 1, 0), this.width - 1));
        const weight = DOWN[j] * ACROSS[i];
        red += weight * this.data[at];
        green += weight * this.data[at + 1];
        blue += weight * this.data[at + 2];
      }
    }
    // Cubic interpolation overshoots at edges.
    color[0] = Math.min(Math.max(red, 0), 255);
    color[1] = Math.min(Math.max(green, 0), 255);
    color[2] = Math.min(Math.max(blue, 0), 255);
  }
}

// Buffers for the weights of `cubic`, so that it allocates nothing for each pixel.
const ACROSS = new Float64Array(4);
const DOWN = new Float64Array(4);

function cubicWeights(t, weights) {
  const a = CUBIC_PARAMETER;
  const far = t + 1;
  const near = 1 - t;
  weights[0] = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a;
  weights[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
  weights[2] = ((a + 2) * near - (a + 3)) * near * near + 1;
  weights[3] = 1 - weights[0] - weights[1] - weights[2];
}

/**
 * Filters the lines of a raster, which are its rows or its columns.
 *
 * In its data, neighbors in a line are `step` values apart, and lines are `stride` values apart.
 */
function filterLines(source, target, taps, lines, step, stride) {
  const targetStride = step === source.channels ? target.width * source.channels : stride;
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < taps.length; i++) {
      const { sources, weights } = taps[i];
      for (let channel = 0; channel < source.channels; channel++) {
        let value = 0;
        for (let k = 0; k < sources.length; k++) {
          value += weights[k] * source.data[line * stride + sources[k] * step + channel];
        }
        target.data[line * targetStride + i * step + channel] = value;
      }
    }
  }
}
