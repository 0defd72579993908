// The page: handles what the user chooses, and shows the results.

import { Camera } from "./camera.js";
import { alignedFace } from "./compositing.js";
import { Engine } from "./engine.js";
import { Figures } from "./figures.js";
import { marked } from "./source_type.js";
import { Viewer } from "./viewer.js";

// Many graphics drivers do not support textures with more pixels a side.
const MAX_SIDE = 4096;
const MEASURED_RUNS = 20;
const NO_FACE = "No face in view.";
// What is downloaded in each form: the button's text, and the end of the file's name.
const DOWNLOADS = {
  portrait: ["Download portrait", "-face"],
  scene: ["Download picture", ""],
  cutout: ["Download cut-out", "-cutout"],
};

const byId = (id) => document.getElementById(id);
const view = byId("view");
const figures = new Figures();
const viewer = new Viewer();

let bundleName = "bundle";
// A promise of the stylizer, which is pending while the bundle is being opened.
let engine = null;
let camera = null;
// What is shown: the photo or camera frame as a canvas, its name, its stylized faces (null before
// they were looked for), and whether it is mirrored.
let shown = null;
// Whether runs are being measured.
let measuring = false;
// The photo that was shown before the camera was switched on; null if there was none.
let photoBefore = null;
// The number of the current job. Whatever the user starts is a new job; a job that has waited
// compares its own number with this one, and ends if they differ.
let job = 0;

function showMessage(text, kind = "info") {
  const message = byId("message");
  // Set only if it changes, because screen readers announce it again even if it is the same.
  if (message.textContent !== text) message.textContent = text;
  message.dataset.kind = kind;
}

// --- The stylizer

/** Opens the bundle. */
async function openBundle() {
  const mine = begin("Opening the bundle …");
  // On the CPU. MediaPipe's GPU delegate for browsers fails on these networks.
  engine = Engine.open();
  try {
    await engine;
    if (mine === job) end();
  } catch (error) {
    if (mine === job) end(explain(error));
  }
}

function explain(error) {
  if (typeof WebAssembly === "undefined") {
    return "WebAssembly is switched off in this browser, and MediaPipe needs it.";
  }
  switch (error.what) {
    case "files":
      return (
        `The server does not provide a file that the page needs (${error.message}). ` +
        "Is task-bundle serve still running? Start it again, then reload this page."
      );
    case "bundle":
      return `MediaPipe cannot open this bundle: ${error.message}`;
    default:
      return `The stylizer failed: ${error.message}. Reload this page to start it again.`;
  }
}

// --- Photos and frames

/** Draws an image source over white on a new canvas, at most MAX_SIDE pixels a side. */
function toCanvas(source, width, height) {
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  const canvas = new OffscreenCanvas(
    Math.max(Math.round(width * scale), 1),
    Math.max(Math.round(height * scale), 1),
  );
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * Stylizes a canvas.
 *
 * Returns the faces, the biggest first, with their pictures as canvases; and `finish`, which is
 * called when they are shown, and measures the time.
 */
async function stylize(photo, start = performance.now()) {
  const open = await engine;
  const answer = await open.stylize(await createImageBitmap(photo));
  const faces = answer.faces.map((face) => {
    const stylized = new OffscreenCanvas(face.picture.width, face.picture.height);
    const context = stylized.getContext("2d", { willReadFrequently: true });
    context.putImageData(face.picture, 0, 0);
    return { ...face, stylized };
  });
  const finish = () => {
    if (faces.length) figures.add(open, { ...answer.times, frame: performance.now() - start });
  };
  return { faces, finish };
}

/** Starts a job in place of the current one. Returns its number. */
function begin(text) {
  // A message that is already shown stays, such as that the bundle is being opened.
  if (byId("message").dataset.kind !== "busy") showMessage(text, "busy");
  view.setAttribute("aria-busy", "true");
  return ++job;
}

function end(text = "", kind = "error") {
  view.setAttribute("aria-busy", "false");
  showMessage(text, kind);
}

async function showPhoto(file) {
  stopCamera();
  photoBefore = null;
  byId("photo-source").checked = true;
  const mine = begin("Looking for a face …");
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    if (mine === job) {
      end(`${file.name || "This file"} is not a picture that this browser can read.`);
    }
    return;
  }
  if (mine !== job) return;
  const photo = toCanvas(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const name = (file.name || "photo").replace(/\.[^.]*$/, "");
  show({ photo, name, faces: null, mirrored: false });
  await stylizeShown(mine);
}

async function showSample() {
  const mine = begin("Looking for a face …");
  try {
    const answer = await fetch("/sample.jpg");
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    const file = new File([await answer.blob()], "sample.jpg");
    if (mine === job) await showPhoto(file);
  } catch (error) {
    if (mine === job) {
      end(explain({ what: "files", message: `/sample.jpg: ${error.message}` }));
    }
  }
}

async function stylizeShown(mine) {
  try {
    const { faces, finish } = await stylize(shown.photo);
    if (mine !== job) return;
    show({ ...shown, faces });
    finish();
    if (faces.length) end();
    else end("No face was found. It should be well lit, look at the camera, and not be tiny.");
  } catch (error) {
    if (mine === job) end(explain(error));
  }
}

async function startCamera() {
  if (!camera) photoBefore = shown;
  stopCamera();
  const mine = begin("Starting the camera …");
  try {
    const opened = await Camera.open();
    if (mine !== job) {
      opened.close();
      return;
    }
    camera = opened;
    camera.onEnd(() => mine === job && leaveCamera("The camera was disconnected."));
    for (let frames = 0; mine === job; frames++) {
      const { source, width, height } = await camera.frame();
      const start = performance.now();
      const photo = toCanvas(source, width, height);
      const { faces, finish } = await stylize(photo, start);
      if (mine !== job) return;
      show({ photo, name: "camera", faces, mirrored: true });
      finish();
      if (frames === 0) end();
      if (!faces.length) showMessage(NO_FACE);
      else if (byId("message").textContent === NO_FACE) showMessage("");
    }
  } catch (error) {
    if (mine === job) leaveCamera(error.what ? explain(error) : error.message);
  }
}

function stopCamera() {
  camera?.close();
  camera = null;
}

/** Back to the photo from before; without one, the camera's last picture stays. */
function leaveCamera(reason = "") {
  job++;
  stopCamera();
  byId("photo-source").checked = true;
  if (photoBefore) shown = photoBefore;
  photoBefore = null;
  update();
  end(reason);
}

/** Makes the camera's picture the photo. */
function takePicture() {
  photoBefore = null;
  leaveCamera();
}

// --- What is shown

function show(what) {
  shown = what;
  update();
}

function update() {
  const hasFace = Boolean(shown?.faces?.length);
  const form = viewer.form;
  view.dataset.content = shown ? "picture" : "empty";
  for (const id of ["download", "strength"]) byId(id).disabled = !hasFace;
  byId("match").disabled = !hasFace || form === "portrait";
  byId("measure").disabled = !hasFace || Boolean(camera);
  byId("download").textContent = DOWNLOADS[form][0];
  byId("take").hidden = !camera;
  if (!shown) return;
  viewer.show({
    photo: shown.photo,
    faces: (shown.faces ?? []).map((face) => ({ ...face, picture: blended(face) })),
    mirrored: shown.mirrored,
    matchColors: byId("match").checked,
    // A live picture is drawn in one form, which is fast; a photo in all.
    live: Boolean(camera) || measuring,
  });
}

/** Returns a stylized face, blended with the photo's face by the strength of the slider. */
function blended({ crop, stylized }) {
  const strength = byId("strength").valueAsNumber / 100;
  if (strength === 1) return stylized;
  const canvas = alignedFace(shown.photo, crop, stylized);
  const context = canvas.getContext("2d");
  context.resetTransform();
  context.globalAlpha = strength;
  context.drawImage(stylized, 0, 0);
  return canvas;
}

async function measure() {
  const mine = begin("Measuring …");
  byId("measure").disabled = true;
  measuring = true;
  try {
    for (let i = 0; i < MEASURED_RUNS; i++) {
      const { faces, finish } = await stylize(shown.photo);
      if (mine !== job) return;
      show({ ...shown, faces });
      finish();
    }
    end();
  } catch (error) {
    if (mine === job) end(explain(error));
  } finally {
    measuring = false;
    update();
  }
}

async function download() {
  const blob = await new Promise((resolve) => viewer.canvas.toBlob(resolve, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(marked(blob));
  link.download = `${shown.name}-${bundleName}${DOWNLOADS[viewer.form][1]}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// --- What the user does

byId("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) showPhoto(target.files[0]);
  // Reset, so that choosing the same file again is a change.
  target.value = "";
});
byId("sample").addEventListener("click", showSample);
byId("camera-source").addEventListener("change", startCamera);
byId("photo-source").addEventListener("change", () => leaveCamera());
byId("take").addEventListener("click", takePicture);
byId("strength").addEventListener("input", ({ target }) => {
  byId("strength-value").textContent = `${target.value} %`;
  target.setAttribute("aria-valuetext", `${target.value} %`);
  update();
});
byId("match").addEventListener("change", update);
byId("measure").addEventListener("click", measure);
byId("download").addEventListener("click", download);
viewer.onChoice(update);

// Drops are handled anywhere on the page; otherwise the browser would open the photo instead of the
// page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  view.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) view.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  view.classList.remove("dropping");
  takeFile(event.dataTransfer);
});
document.addEventListener("paste", (event) => takeFile(event.clipboardData));

function takeFile(transfer) {
  const [file] = transfer?.files ?? [];
  if (file) showPhoto(file);
  else showMessage("This is not a file. Save the picture first, then choose it.", "error");
}

update();
figures.showBundle().then((name) => {
  bundleName = name ?? bundleName;
});
openBundle();
