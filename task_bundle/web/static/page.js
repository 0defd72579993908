// The page: handles what the user chooses, and shows the results.

import { Camera } from "./camera.js";
import { alignedFace, composite } from "./compositing.js";
import { Engine } from "./engine.js";
import { cropOf } from "./face_crop.js";
import { Latencies } from "./latencies.js";
import { marked } from "./source_type.js";

// Many graphics drivers do not support textures with more pixels a side.
const MAX_SIDE = 4096;
const MEASURED_RUNS = 20;
const NO_FACE = "No face in view.";
const STAGES = ["stylizer", "landmarks", "frame"];
const QUANTILES = { median: 0.5, p90: 0.9 };

const byId = (id) => document.getElementById(id);
const view = byId("view");
const latencies = new Latencies();

let bundleName = "bundle";
// A promise of the stylizer, which is pending while the bundle is being opened.
let engine = Promise.reject(new Error("not opened yet"));
engine.catch(() => {});
let camera = null;
// What is shown: the photo or camera frame as a canvas, its name, its stylized face or null, and
// whether it is mirrored.
let shown = null;
let comparing = false;
// A message to show when the current job has succeeded.
let remark = "";
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

/** Opens the bundle, on the CPU if the GPU cannot run it. */
function openEngine(delegate) {
  const closed = engine.then((open) => open.close(), () => {});
  engine = closed.then(() => Engine.open(delegate)).catch((error) => {
    if (delegate === "CPU") throw error;
    switchToCpu(error);
    return Engine.open("CPU");
  });
  byId(delegate.toLowerCase()).checked = true;
  latencies.clear();
  showLatencies();
  return engine;
}

function switchToCpu(error) {
  remark = `The GPU cannot run this bundle (${error.message}). Back on the CPU.`;
  byId("cpu").checked = true;
}

/** Opens the bundle with another delegate, and repeats the current job. */
async function chooseDelegate(delegate) {
  const live = Boolean(camera);
  stopCamera();
  const mine = begin("Opening the bundle …");
  try {
    await openEngine(delegate);
    if (mine !== job) return;
    if (live) startCamera();
    else if (shown) stylizeShown(mine);
    else end();
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

/** Stylizes a canvas, and measures the times. Returns null if there is no face. */
async function stylize(photo, start = performance.now()) {
  const answer = await (await engine)
    .stylize(await createImageBitmap(photo))
    .catch(async (error) => {
      if (byId("cpu").checked) throw error;
      // Some models can be opened on the GPU, but fail when they run.
      switchToCpu(error);
      return (await openEngine("CPU")).stylize(await createImageBitmap(photo));
    });
  const open = await engine;
  const { landmarks, picture } = answer;
  if (!picture) return null;
  const face = new OffscreenCanvas(picture.width, picture.height);
  face.getContext("2d", { willReadFrequently: true }).putImageData(picture, 0, 0);
  const finish = () => {
    const times = {
      stylizer: answer.stylizerTime,
      landmarks: answer.landmarksTime,
      frame: performance.now() - start,
    };
    // The first run is slower, because it prepares the models, and is shown separately.
    if (open.firstRun === undefined) open.firstRun = times.stylizer;
    else latencies.add(times);
    showLatencies(open.firstRun);
  };
  return { face, landmarks, crop: cropOf(landmarks), finish };
}

/** Starts a job in place of the current one. Returns its number. */
function begin(text) {
  // A message that is already shown stays, such as that the bundle is being opened.
  if (byId("message").dataset.kind !== "busy") showMessage(text, "busy");
  view.setAttribute("aria-busy", "true");
  return ++job;
}

function end(text = remark, kind = "error") {
  view.setAttribute("aria-busy", "false");
  showMessage(text, kind);
  remark = "";
}

async function showPhoto(file) {
  stopCamera();
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
  show({ photo, name, result: null, mirrored: false });
  await stylizeShown(mine);
}

async function stylizeShown(mine) {
  try {
    const result = await stylize(shown.photo);
    if (mine !== job) return;
    show({ ...shown, result });
    result?.finish();
    if (result) end();
    else end("No face was found. It should be well lit, look at the camera, and not be tiny.");
  } catch (error) {
    if (mine === job) end(explain(error));
  }
}

async function startCamera() {
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
      const result = await stylize(photo, start);
      if (mine !== job) return;
      show({ photo, name: "camera", result, mirrored: true });
      result?.finish();
      if (frames === 0) end();
      if (!result) showMessage(NO_FACE);
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

function leaveCamera(reason = "") {
  job++;
  stopCamera();
  byId("photo-source").checked = true;
  update();
  end(reason);
}

// --- What is shown

function show(what) {
  shown = what;
  update();
}

function update() {
  view.dataset.content = shown ? "picture" : "empty";
  view.classList.toggle("mirrored", Boolean(shown?.mirrored));
  byId("sources").classList.toggle("mirrored", Boolean(shown?.mirrored));
  const hasFace = Boolean(shown?.result);
  for (const id of ["download", "download-face", "compare", "strength"]) {
    byId(id).disabled = !hasFace;
  }
  byId("measure").disabled = !hasFace || Boolean(camera);
  if (!shown) return;
  draw(byId("photo"), shown.photo);
  const canvas = byId("composite");
  const face = byId("face");
  face.dataset.empty = String(!hasFace);
  if (!hasFace) {
    draw(canvas, shown.photo);
    face.width = face.height = 1;
    canvas.setAttribute("aria-label", "The photo; it has no stylized face yet");
    return;
  }
  draw(face, blendedFace());
  if (comparing) draw(canvas, shown.photo);
  else drawComposite(canvas);
  canvas.setAttribute(
    "aria-label",
    comparing ? "The photo as it was" : "The photo with the stylized face pasted in",
  );
}

function draw(canvas, source) {
  canvas.width = source.width;
  canvas.height = source.height;
  canvas.getContext("2d").drawImage(source, 0, 0);
}

function drawComposite(canvas) {
  const { photo, result } = shown;
  composite(canvas, photo, blendedFace(), result.landmarks, result.crop);
}

/** Returns the stylized face, blended with the photo's face by the strength of the slider. */
function blendedFace() {
  const { photo, result } = shown;
  const strength = byId("strength").valueAsNumber / 100;
  if (strength === 1) return result.face;
  const blended = alignedFace(photo, result.crop, result.face);
  const context = blended.getContext("2d");
  context.resetTransform();
  context.globalAlpha = strength;
  context.drawImage(result.face, 0, 0);
  return blended;
}

function showLatencies(firstRun) {
  for (const stage of STAGES) {
    for (const [column, fraction] of Object.entries(QUANTILES)) {
      const time = latencies.quantile(stage, fraction);
      byId(`${stage}-${column}`).textContent = time === null ? "–" : `${time.toFixed(0)} ms`;
    }
  }
  byId("latency-note").textContent = latencyNote(firstRun);
}

function latencyNote(firstRun) {
  if (firstRun === undefined) return "No face was stylized yet.";
  const first = `${firstRun.toFixed(0)} ms`;
  if (latencies.count === 0) return `The first run took ${first}; it does not count.`;
  const runs = latencies.count === 1 ? "1 run" : `${latencies.count} runs`;
  return `${runs}, after a first of ${first}.`;
}

async function measure() {
  const mine = begin("Measuring …");
  byId("measure").disabled = true;
  try {
    for (let i = 0; i < MEASURED_RUNS; i++) {
      const result = await stylize(shown.photo);
      if (mine !== job) return;
      show({ ...shown, result });
      result?.finish();
    }
    end();
  } catch (error) {
    if (mine === job) end(explain(error));
  }
}

async function download(source, suffix) {
  const canvas = new OffscreenCanvas(1, 1);
  source(canvas);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(marked(await canvas.convertToBlob({ type: "image/png" })));
  link.download = `${shown.name}-${suffix}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// --- The bundle

async function showBundle() {
  let about;
  try {
    about = await (await fetch("/bundle/about.json")).json();
  } catch {
    return; // Opening the stylizer fails, too, and shows a message.
  }
  bundleName = about.name.replace(/\.task$/, "");
  document.title = `${about.name} – face stylizer`;
  byId("bundle-name").textContent = about.name;
  const stylizer = about.entries.at(-1);
  const metadata = stylizer.metadata ?? {};
  const facts = [
    ["Size", megabytes(about.size)],
    ["Input", pixels(about.inputSize)],
    ["Output", pixels(about.outputSize)],
    ["Parameters", `${(stylizer.model.parameters / 1e6).toFixed(2)} million`],
    ["Operations", `${(stylizer.model.macs / 1e9).toFixed(2)} billion multiply-adds`],
    ["Name", metadata.name],
    ["About", metadata.description],
    ["Version", metadata.version],
    ["Author", metadata.author],
    ["License", metadata.license],
    ["Runtime", `tasks-vision ${about.tasksVision}`],
    ["SHA-256", about.sha256, "digest"],
  ].filter(([, value]) => value);
  byId("facts").replaceChildren(
    ...facts.flatMap(([name, value, style]) => [element("dt", name), element("dd", value, style)]),
  );
  byId("entries").replaceChildren(
    ...about.entries.map(({ name, size }) => element("li", `${name}, ${megabytes(size)}`)),
  );
  byId("remarks").replaceChildren(...about.remarks.map((remark) => element("li", remark)));
}

function element(tag, text, style = "") {
  const made = document.createElement(tag);
  made.className = style;
  made.textContent = text;
  return made;
}

function pixels([width, height]) {
  return `${width} × ${height} px`;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
}

// --- What the user does

byId("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) showPhoto(target.files[0]);
  // Reset, so that choosing the same file again is a change.
  target.value = "";
});
byId("camera-source").addEventListener("change", startCamera);
byId("photo-source").addEventListener("change", () => leaveCamera());
for (const delegate of ["CPU", "GPU"]) {
  byId(delegate.toLowerCase()).addEventListener("change", () => chooseDelegate(delegate));
}
byId("strength").addEventListener("input", ({ target }) => {
  byId("strength-value").textContent = `${target.value} %`;
  target.setAttribute("aria-valuetext", `${target.value} %`);
  update();
});
byId("compare").addEventListener("click", ({ currentTarget }) => {
  comparing = !comparing;
  currentTarget.setAttribute("aria-pressed", String(comparing));
  update();
});
byId("measure").addEventListener("click", measure);
byId("download").addEventListener("click", () => download(drawComposite, bundleName));
byId("download-face").addEventListener("click", () =>
  download((canvas) => draw(canvas, blendedFace()), `${bundleName}-face`),
);

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
showBundle();
chooseDelegate("CPU");
