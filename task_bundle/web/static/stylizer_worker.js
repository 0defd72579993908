// Runs MediaPipe in a worker, because a face takes a tenth of a second, during which the page would
// not react. This is a classic script, because MediaPipe loads its WebAssembly with importScripts,
// which module workers do not have.
"use strict";

const PACKAGE = "/tasks-vision";
const BUNDLE = "/bundle/face_stylizer.task";
// The bundle's own face models, which find the face: FaceStylizer does not return its position.
const LANDMARKER = "/bundle/face_landmarker.task";
// Tells the person from the background; the server has it if the installed mediapipe has.
const PERSON = "/person.tflite";
const ABOUT = "/bundle/about.json";
const MAX_FACES = 8;
const COVER = "rgb(128 128 128)";

let stylizer = null;
let landmarker = null;
let segmenter = null;
// This page's own modules, which a classic script can only import when it runs.
let compositing = null;
let faceCrop = null;

self.onmessage = async ({ data }) => {
  try {
    if (data.kind === "open") {
      await open();
      self.postMessage({ kind: "opened" });
    } else {
      self.postMessage({ kind: "stylized", ...stylize(data.image) });
    }
  } catch (error) {
    self.postMessage({ kind: "failed", what: error.what ?? "run", message: messageOf(error) });
  }
};

async function open() {
  const about = await (await fetchOrFail(ABOUT)).json();
  const paths = [BUNDLE, LANDMARKER, ...(about.hasPerson ? [PERSON] : [])];
  const [bundle, faceModels, person] = await Promise.all(paths.map(fetchBytes));
  const script = `${PACKAGE}/vision_bundle.mjs`;
  const load = (path) => import(path).catch((error) => fail("files", error));
  const vision = await load(script);
  compositing = await load("/compositing.js");
  faceCrop = await load("/face_crop.js");
  const fileset = await vision.FilesetResolver.forVisionTasks(`${PACKAGE}/wasm`);
  // Checked here, because MediaPipe's errors do not say which file is missing.
  for (const path of [fileset.wasmLoaderPath, fileset.wasmBinaryPath]) await checkExists(path);
  try {
    stylizer = await vision.FaceStylizer.createFromOptions(fileset, {
      baseOptions: { modelAssetBuffer: bundle, delegate: "CPU" },
    });
    landmarker = await vision.FaceLandmarker.createFromOptions(fileset, {
      baseOptions: { modelAssetBuffer: faceModels, delegate: "CPU" },
      numFaces: MAX_FACES,
      runningMode: "IMAGE",
    });
    if (person) {
      segmenter = await vision.ImageSegmenter.createFromOptions(fileset, {
        baseOptions: { modelAssetBuffer: person, delegate: "CPU" },
        outputCategoryMask: false,
        outputConfidenceMasks: true,
        runningMode: "IMAGE",
      });
    }
    // Some operators are only refused when they run.
    stylize(new ImageData(64, 64));
  } catch (error) {
    fail("bundle", error);
  }
}

/**
 * Stylizes the faces of an image, the biggest first.
 *
 * Returns for each the landmarks as [x, y] in pixels of the image, the crop, the picture as
 * ImageData, and the share of the person in each pixel of the aligned face, which is null without a
 * network that finds it. Times are in milliseconds.
 */
function stylize(image) {
  const times = { stylizer: 0, place: 0 };
  const found = timed(times, "place", () => landmarksOf(image));
  const faces = [];
  if (found.length <= 1) {
    const picture = timed(times, "stylizer", () => pictureOf(image));
    if (picture && found.length) faces.push({ landmarks: found[0], picture });
  } else {
    for (const own of found) {
      // FaceStylizer takes one face. The others are covered, and as that can move the landmarks a
      // little, they are searched for again.
      const alone = covered(image, found.filter((other) => other !== own));
      const picture = timed(times, "stylizer", () => pictureOf(alone));
      const [landmarks] = timed(times, "place", () => landmarksOf(alone));
      if (picture && landmarks) faces.push({ landmarks, picture });
    }
  }
  for (const face of faces) {
    face.crop = faceCrop.cropOf(face.landmarks);
    face.person = timed(times, "place", () => personIn(image, face.crop));
  }
  faces.sort((one, other) => other.crop.side - one.crop.side);
  image.close?.();
  return { faces, times };
}

function timed(times, stage, run) {
  const start = performance.now();
  const result = run();
  times[stage] += performance.now() - start;
  return result;
}

function landmarksOf(image) {
  const { width, height } = image;
  const { faceLandmarks } = landmarker.detect(image);
  return faceLandmarks.map((face) => face.map(({ x, y }) => [x * width, y * height]));
}

/** Stylizes the face with the highest detection score; null if there is none. */
function pictureOf(image) {
  let picture = null;
  // With a callback, because the variant with a return value frees the pixels before it returns.
  stylizer.stylize(image, (result) => {
    if (!result) return;
    const pixels = result.getAsImageData();
    picture = new ImageData(new Uint8ClampedArray(pixels.data), pixels.width);
  });
  return picture;
}

function covered(image, faces) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  context.fillStyle = COVER;
  for (const landmarks of faces) {
    context.beginPath();
    for (const [x, y] of compositing.convexHull(landmarks)) context.lineTo(x, y);
    context.fill();
  }
  return canvas;
}

function personIn(image, crop) {
  if (!segmenter) return null;
  const side = compositing.PERSON_SIDE;
  const aligned = compositing.alignedFace(image, crop, { width: side, height: side });
  let person = null;
  segmenter.segment(aligned, ({ confidenceMasks }) => {
    // Copied, because the mask is valid in the callback only.
    person = confidenceMasks.at(-1).getAsFloat32Array().slice();
  });
  return person;
}

async function fetchBytes(path) {
  return new Uint8Array(await (await fetchOrFail(path)).arrayBuffer());
}

function checkExists(path) {
  return fetchOrFail(path, { method: "HEAD" });
}

async function fetchOrFail(path, options) {
  const response = await fetch(path, options).catch((error) => fail("files", error));
  if (!response.ok) fail("files", new Error(`${path}: ${response.status} ${response.statusText}`));
  return response;
}

function fail(what, error) {
  throw Object.assign(new Error(messageOf(error)), { what });
}

/** Returns the reason in MediaPipe's message, without names of graph nodes and source files. */
function messageOf(error) {
  const text = String(error?.message ?? error).split("\n=== Source")[0];
  const reason = text.match(/" failed: ([^;\n]+)/)?.[1] ?? text;
  return reason.trim().slice(0, 300);
}
