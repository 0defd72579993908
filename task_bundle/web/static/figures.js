// What is folded away beside the picture: latencies, and what the bundle contains.

import { Latencies } from "./latencies.js";

const STAGES = ["stylizer", "place", "frame"];
const QUANTILES = { median: 0.5, p90: 0.9 };

const byId = (id) => document.getElementById(id);

export class Figures {
  #latencies = new Latencies();

  constructor() {
    this.#show();
  }

  /** Adds the times of a run, in milliseconds by stage. */
  add(engine, times) {
    // The first run is slower, because it prepares the models, and is shown separately.
    if (engine.firstRun === undefined) engine.firstRun = times.stylizer;
    else this.#latencies.add(times);
    this.#show(engine.firstRun);
  }

  #show(firstRun) {
    for (const stage of STAGES) {
      for (const [column, fraction] of Object.entries(QUANTILES)) {
        byId(`${stage}-${column}`).textContent = this.#time(stage, fraction) ?? "–";
      }
    }
    byId("latency-headline").textContent = this.#time("frame", QUANTILES.median) ?? "";
    byId("latency-note").textContent = this.#note(firstRun);
  }

  #time(stage, fraction) {
    const time = this.#latencies.quantile(stage, fraction);
    return time === null ? null : `${time.toFixed(0)} ms`;
  }

  #note(firstRun) {
    if (firstRun === undefined) return "No face was stylized yet.";
    const { count } = this.#latencies;
    const first = `${firstRun.toFixed(0)} ms`;
    if (count === 0) return `The first run took ${first}; it does not count.`;
    const runs = count === 1 ? "1 run" : `${count} runs`;
    return `${runs}, after a first of ${first}.`;
  }

  /** Shows what the server says about the bundle. Returns its name; null if it says nothing. */
  async showBundle() {
    let about;
    try {
      about = await (await fetch("/bundle/about.json")).json();
    } catch {
      return null; // Opening the stylizer fails, too, and shows a message.
    }
    document.title = `${about.name} – face stylizer`;
    byId("bundle-name").textContent = about.name;
    byId("bundle-headline").textContent = megabytes(about.size);
    const stylizer = about.entries.at(-1);
    const metadata = stylizer.metadata ?? {};
    const facts = [
      ...howMade(about.made),
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
      ...facts.flatMap(([name, value, kind]) => [element("dt", name), element("dd", value, kind)]),
    );
    byId("entries").replaceChildren(
      ...about.entries.map(({ name, size }) => element("li", `${name}, ${megabytes(size)}`)),
    );
    byId("remarks").replaceChildren(...about.remarks.map((remark) => element("li", remark)));
    if (about.made?.thumbnail) {
      byId("thumbnail").src = "/bundle/thumbnail.jpg";
      byId("thumbnail").hidden = false;
    }
    return about.name.replace(/\.task$/, "");
  }
}

/** How the bundle was made, if it says so: names and values. */
function howMade(made) {
  if (!made) return [];
  const steps = made.steps === 1 ? "1 step" : `${made.steps} steps`;
  const colors = made.colors === "photo" ? "of the photo" : "of the style";
  return [
    ["Made by", `mm-face-stylizer ${made.version}`],
    ["Preset", made.preset],
    ["Style", made.styles.join(", ")],
    ["Training", `${steps}, seed ${made.seed}`],
    ["Likeness", `${made.likeness}, colors ${colors}`],
    ["Strength", made.strength === 1 ? "" : `${made.strength}`],
    ["Weights", made.precision],
  ];
}

function element(tag, text, kind = "") {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

function pixels([width, height]) {
  return `${width} × ${height} px`;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
}
