// MediaPipe, off the page's own thread: a face takes a tenth of a second. A classic script, because
// MediaPipe loads its WebAssembly by importScripts, which module workers lack.
"use strict";

const PACKAGE = "/tasks-vision";
const BUNDLE = "/bundle/face_stylizer.task";
// The bundle's own two face models: FaceStylizer does not say where the face is.
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
  // MediaPipe says little of what it cannot fetch.
  for (const path of [fileset.wasmLoaderPath, fileset.wasmBinaryPath]) await fetchHead(path);
  try {
    stylizer = await vision.FaceStylizer.createFromOptions(fileset, {
      baseOptions: { modelAssetBuffer: bundle, delegate },
    });
    landmarker = await vision.FaceLandmarker.createFromOptions(fileset, {
      baseOptions: { modelAssetBuffer: faceModels, delegate },
      numFaces: 1,
      runningMode: "IMAGE",
    });
    // Only the first run tells whether the delegate knows every operator.
    stylize(new ImageData(64, 64));
  } catch (error) {
    fail("bundle", error);
  }
}

/**
 * Stylizes the face that MediaPipe is surest of.
 *
 * Returns the landmarks as [x, y] in pixels of the image, and the picture as ImageData; both null
 * without a face. Times are in milliseconds.
 */
function stylize(image) {
  const { width, height } = image;
  const start = performance.now();
  let picture = null;
  // In the form with a return value, MediaPipe frees the pixels before one can look at them.
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
  return new Uint8Array(await (await reach(path)).arrayBuffer());
}

function fetchHead(path) {
  return reach(path, { method: "HEAD" });
}

async function reach(path, options) {
  const response = await fetch(path, options).catch((error) => fail("files", error));
  if (!response.ok) fail("files", new Error(`${path}: ${response.status} ${response.statusText}`));
  return response;
}

function fail(what, error) {
  throw Object.assign(new Error(messageOf(error)), { what });
}

/** What MediaPipe says, without the names of graph nodes and source files round it. */
function messageOf(error) {
  const text = String(error?.message ?? error).split("\n=== Source")[0];
  const reason = text.match(/" failed: ([^;\n]+)/)?.[1] ?? text;
  return reason.trim().slice(0, 300);
}
