// The face crop of task_bundle.faces.alignment, the rotated square that the stylizer sees.

const LEFT_EYE = [33, 133];
const RIGHT_EYE = [263, 362];
const MOUTH = [61, 291];

/**
 * Computes the crop from face landmarks like MediaPipe's FaceToRect calculator.
 *
 * Landmarks are [x, y] in pixels of the photo. Returns center and side in whole pixels, and the
 * rotation in radians, clockwise as seen.
 */
export function cropOf(landmarks) {
  const [left, right, mouth] = [LEFT_EYE, RIGHT_EYE, MOUTH].map((pair) =>
    middle(...pair.map((i) => landmarks[i])),
  );
  const eyes = middle(left, right);
  const across = [right[0] - left[0], right[1] - left[1]];
  const down = [mouth[0] - eyes[0], mouth[1] - eyes[1]];
  return {
    x: rounded(eyes[0] + 0.1 * down[0]),
    y: rounded(eyes[1] + 0.1 * down[1]),
    side: rounded(Math.max(3.6 * Math.hypot(...down), 4 * Math.hypot(...across))),
    rotation: Math.atan2(across[1] - down[0], across[0] + down[1]),
  };
}

/**
 * Returns the matrix from coordinates in the photo to coordinates in the cropped picture.
 *
 * Integer coordinates are pixel centers in both. If the picture is not square, the crop is centered
 * in it, as large as fits.
 */
export function cropMatrix(crop, { width, height }) {
  const scale = Math.min(width, height) / crop.side;
  const a = scale * Math.cos(crop.rotation);
  const b = scale * Math.sin(crop.rotation);
  const right = width / 2 - a * crop.x - b * crop.y;
  const down = height / 2 + b * crop.x - a * crop.y;
  return new DOMMatrix([a, -b, b, a, right, down]);
}

function middle(one, other) {
  return [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
}

/** Rounds halves away from zero, as C++ does. */
function rounded(value) {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}
