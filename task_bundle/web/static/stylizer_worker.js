// Runs MediaPipe in a worker, because a face takes a tenth of a second, during which the page would
// not react. This is a classic script, because MediaPipe loads its WebAssembly with importScripts,
// which module workers do not have.
"use strict";

const PACKAGE = "/tasks-vision";
const BUNDLE = "/bundle/face_stylizer.task";
// The bundle's own face models, which find the face: FaceStylizer does not return its position.
const LANDMARKER = "/bundle/face_landmarker.task";

let stylizer = null;
let landmarker = null;

self.onmessage = async ({ data }) => {
  try {
    if (data.kind === "open") {
      await open(data.delegate);
      self.postMessage({ kind: "opened" });
    } else {
      self.postMessage({ kind: "stylized", ...stylize(data.image) });
    }
  } catch (error) {
    self.postMessage({ kind: "failed", what: error.what ?? "run", message: messageOf(error) });
  }
};

async function open(delegate) {
  const [bundle, faceModels] = await Promise.all([BUNDLE, LANDMARKER].map(fetchBytes));
  const script = `${PACKAGE}/vision_bundle.mjs`;
  const vision = await import(script).catch((error) => fail("files", error));
  const fileset = await vision.FilesetResolver.forVisionTasks(`${PACKAGE}/wasm`);
  // Checked here, because MediaPipe's errors do not say which file is missing.
  for (const path of [fileset.wasmLoaderPath, fileset.wasmBinaryPath]) await checkExists(path);
  try {
    stylizer = await vision.FaceStylizer.createFromOptions(fileset, {
      baseOptions: { modelAssetBuffer: bundle, delegate },
    });
    landmarker = await vision.FaceLandmarker.createFromOptions(fileset, {
      baseOptions: { modelAssetBuffer: faceModels, delegate },
      numFaces: 1,
      runningMode: "IMAGE",
    });
    // Whether the delegate supports every operator is only known after the first run.
    stylize(new ImageData(64, 64));
  } catch (error) {
    fail("bundle", error);
  }
}

/**
 * Stylizes the face with the highest detection score.
 *
 * Returns the landmarks as [x, y] in pixels of the image, and the picture as ImageData; both are
 * null if there is no face. Times are in milliseconds.
 */
function stylize(image) {
  const { width, height } = image;
  const start = performance.now();
  let picture = null;
  // With a callback, because the variant with a return value frees the pixels before it returns.
  stylizer.stylize(image, (result) => {
    if (!result) return;
    const pixels = result.getAsImageData();
    picture = new ImageData(new Uint8ClampedArray(pixels.data), pixels.width);
  });
  const middle = performance.now();
  const [face] = landmarker.detect(image).faceLandmarks;
  const end = performance.now();
  image.close?.();
  const landmarks = picture && face ? face.map(({ x, y }) => [x * width, y * height]) : null;
  return {
    landmarks,
    picture: landmarks && picture,
    stylizerTime: middle - start,
    landmarksTime: end - middle,
  };
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
