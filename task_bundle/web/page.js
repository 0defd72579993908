// The page: what the user chooses, what is shown.

import { Camera } from "./camera.js";
import { alignedFace, composite } from "./compositing.js";
import { Engine } from "./engine.js";
import { cropOf } from "./face_crop.js";
import { Latencies } from "./latencies.js";

// Textures of more pixels a side are refused by many graphics drivers.
const MAX_SIDE = 4096;
const MEASURED_RUNS = 20;
const STAGES = ["stylizer", "landmarks", "frame"];
const SHARES = { median: 0.5, p90: 0.9 };

const byId = (id) => document.getElementById(id);
const view = byId("view");
const latencies = new Latencies();

let bundleName = "bundle";
// A promise of the stylizer: whoever needs it waits for it.
let engine = Promise.reject(new Error("not opened yet"));
engine.catch(() => {});
let camera = null;
// What is shown: the photo or the camera's frame as a canvas, and its stylized face or null.
let shown = null;
let comparing = false;
// Counts what the user asks for, so that what takes long can see that it is out of date.
let job = 0;

function say(text, kind = "info") {
  const message = byId("message");
  // Screen readers read out what is set, even if it is what was there.
  if (message.textContent !== text) message.textContent = text;
  message.dataset.kind = kind;
}

// --- The stylizer

async function openEngine(delegate) {
  engine = engine.then((open) => open.close(), () => {}).then(() => Engine.open(delegate));
  latencies.clear();
  showLatencies();
  say("Opening the bundle …", "busy");
  byId(delegate.toLowerCase()).checked = true;
  try {
    await engine;
    say("");
    return true;
  } catch (error) {
    if (delegate === "GPU") return backToCpu(error);
    say(explain(error), "error");
    return false;
  }
}

async function backToCpu(error) {
  const recovered = await openEngine("CPU");
  if (recovered) say(`The GPU cannot run this bundle (${error.message}). Back on the CPU.`, "error");
  return recovered;
}

/** Says what went wrong in a run; returns whether it is worth trying again. */
async function recover(error) {
  if (error.what === "run" && byId("gpu").checked) return backToCpu(error);
  say(explain(error), "error");
  return false;
}

function explain(error) {
  if (typeof WebAssembly === "undefined") {
    return "WebAssembly is switched off in this browser, and MediaPipe needs it.";
  }
  switch (error.what) {
    case "files":
      return `The server does not give what the page needs (${error.message}). Is task-bundle serve still running? Start it again, then reload this page.`;
    case "bundle":
      return `MediaPipe cannot open this bundle: ${error.message}`;
    default:
      return `The stylizer failed: ${error.message}. Reload this page to start it again.`;
  }
}

// --- Photos and frames

/** Returns the source on a canvas of its own, transparency over white. */
function toCanvas(source, width, height) {
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  const canvas = new OffscreenCanvas(
    Math.max(Math.round(width * scale), 1),
    Math.max(Math.round(height * scale), 1),
  );
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Stylizes a canvas and takes the times; null without a face. */
async function stylize(photo, start = performance.now()) {
  const open = await engine;
  const answer = await open.stylize(await createImageBitmap(photo));
  const { landmarks, picture } = answer;
  if (!picture) return null;
  const face = new OffscreenCanvas(picture.width, picture.height);
  face.getContext("2d").putImageData(picture, 0, 0);
  const finish = () => {
    const times = {
      stylizer: answer.stylizerTime,
      landmarks: answer.landmarksTime,
      frame: performance.now() - start,
    };
    // The first run of all prepares the models.
    if (open.firstRun === undefined) open.firstRun = times.stylizer;
    else latencies.add(times);
    showLatencies(open.firstRun);
  };
  return { face, landmarks, crop: cropOf(landmarks), finish };
}

async function showPhoto(file) {
  stopCamera();
  byId("photo-source").checked = true;
  const mine = ++job;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    say(`${file.name || "That"} is no picture that this browser can read.`, "error");
    return;
  }
  if (mine !== job) return;
  const photo = toCanvas(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const name = (file.name || "photo").replace(/\.[^.]*$/, "");
  show({ photo, name, result: null, mirrored: false });
  await stylizePhoto(mine);
}

async function stylizePhoto(mine) {
  const { photo, name } = shown;
  try {
    await engine;
    if (mine !== job) return;
    if (byId("message").dataset.kind !== "error") say("Looking for a face …", "busy");
    const result = await stylize(photo);
    if (mine !== job) return;
    show({ photo, name, result, mirrored: false });
    result?.finish();
    // What is said of the GPU stays.
    if (result && byId("message").dataset.kind === "busy") say("");
    if (!result) {
      say(
        "No face was found. It should be well lit, look roughly towards the camera, and not be tiny.",
        "error",
      );
    }
  } catch (error) {
    if (mine === job && (await recover(error))) stylizePhoto(mine);
  }
}

async function startCamera() {
  const mine = ++job;
  stopCamera();
  say("Starting the camera …", "busy");
  try {
    const opened = await Camera.open();
    if (mine !== job) {
      opened.close();
      return;
    }
    camera = opened;
    camera.onEnd(() => mine === job && leaveCamera("The camera was taken away."));
    say("");
    while (mine === job) {
      const { source, width, height } = await camera.frame();
      const start = performance.now();
      const photo = toCanvas(source, width, height);
      const result = await stylize(photo, start);
      if (mine !== job) return;
      show({ photo, name: "camera", result, mirrored: true });
      result?.finish();
      say(result ? "" : "No face in view.");
    }
  } catch (error) {
    if (mine !== job) return;
    if (!error.what) leaveCamera(error.message);
    else if (await recover(error)) startCamera();
    else leaveCamera(byId("message").textContent);
  }
}

function stopCamera() {
  camera?.close();
  camera = null;
}

function leaveCamera(reason) {
  job++;
  stopCamera();
  byId("photo-source").checked = true;
  update();
  say(reason, "error");
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
  for (const id of ["download", "download-face", "compare", "strength"]) byId(id).disabled = !hasFace;
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
  draw(face, strengthened());
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
  composite(canvas, photo, strengthened(), result.landmarks, result.crop);
}

/** The stylized face, blended with the photo's own as far as the slider says. */
function strengthened() {
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
    for (const [column, share] of Object.entries(SHARES)) {
      const time = latencies.quantile(stage, share);
      byId(`${stage}-${column}`).textContent = time === null ? "–" : `${time.toFixed(0)} ms`;
    }
  }
  const count = latencies.count;
  const runs = count === 1 ? "One run" : `${count} runs`;
  byId("latency-note").textContent =
    firstRun === undefined
      ? "No face was stylized yet."
      : `${runs} after the first, whose stylizer took ${firstRun.toFixed(0)} ms.`;
}

async function measure() {
  const mine = ++job;
  const { photo } = shown;
  say("Measuring …", "busy");
  byId("measure").disabled = true;
  try {
    for (let i = 0; i < MEASURED_RUNS && mine === job; i++) {
      const result = await stylize(photo);
      if (mine !== job) return;
      drawComposite(byId("composite"));
      result?.finish();
    }
    say("");
  } catch (error) {
    say(explain(error), "error");
  } finally {
    if (mine === job) update();
  }
}

async function download(source, suffix) {
  const canvas = new OffscreenCanvas(1, 1);
  source(canvas);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await canvas.convertToBlob({ type: "image/png" }));
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
    return; // The stylizer will not open either, and says so.
  }
  bundleName = about.name.replace(/\.task$/, "");
  document.title = `${about.name} – face stylizer`;
  byId("bundle-name").textContent = about.name;
  const stylizer = about.entries.at(-1);
  const metadata = stylizer.metadata ?? {};
  const facts = [
    ["Size", megabytes(about.size)],
    ["Pictures", `${about.inputSize.join(" × ")} to ${about.outputSize.join(" × ")} px`],
    ["Parameters", `${(stylizer.model.parameters / 1e6).toFixed(2)} million`],
    ["Operations", `${(stylizer.model.macs / 1e9).toFixed(2)} billion multiply-adds`],
    ["Name", metadata.name],
    ["About", metadata.description],
    ["Version", metadata.version],
    ["Author", metadata.author],
    ["Licence", metadata.license],
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

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
}

// --- What the user does

byId("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) showPhoto(target.files[0]);
  // So that the same file can be chosen again.
  target.value = "";
});
byId("camera-source").addEventListener("change", startCamera);
byId("photo-source").addEventListener("change", () => {
  job++;
  stopCamera();
  say("");
  update();
});
for (const delegate of ["CPU", "GPU"]) {
  byId(delegate.toLowerCase()).addEventListener("change", async () => {
    const live = Boolean(camera);
    const mine = ++job;
    stopCamera();
    if (!(await openEngine(delegate)) || mine !== job) return;
    if (live) startCamera();
    else if (shown) stylizePhoto(mine);
  });
}
byId("strength").addEventListener("input", ({ target }) => {
  byId("strength-value").textContent = `${target.value} %`;
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
  download((canvas) => draw(canvas, strengthened()), `${bundleName}-face`),
);

// Anywhere on the page: a photo dropped beside the mark would replace the page.
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
  else say("That was no picture file. Save the picture first, then choose the file.", "error");
}

update();
showBundle();
openEngine("CPU");
