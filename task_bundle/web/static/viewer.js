// The large picture: portrait, in the photo or cut out, with the original beside it at a handle.

import { alignedFace, composite, cutout } from "./compositing.js";

const THUMB_SIDE = 96;
const CANVASES = { portrait: "face", scene: "composite", cutout: "cutout" };

const byId = (id) => document.getElementById(id);

export class Viewer {
  #pair = byId("pair");
  #view = byId("view");
  #handle = byId("handle");
  #strip = byId("faces");
  #chosen = 0;
  #changed = () => {};

  constructor() {
    this.#handle.addEventListener("input", () => this.#place());
    this.#place();
  }

  /** Calls back when the user has chosen a form or a face. */
  onChoice(callback) {
    this.#changed = callback;
    for (const input of document.getElementsByName("form")) {
      input.addEventListener("change", callback);
    }
  }

  /** "portrait", "scene" or "cutout". */
  get form() {
    return document.querySelector('input[name="form"]:checked').value;
  }

  /** The canvas with the stylized picture in the chosen form. */
  get canvas() {
    return byId(CANVASES[this.form]);
  }

  /**
   * Shows a photo and its stylized faces.
   *
   * @param photo - a canvas.
   * @param faces - see `composite`, the biggest first; without any, the photo is shown as it is.
   * @param mirrored - whether to show it as in a mirror.
   * @param matchColors - see `composite`.
   * @param live - whether to draw the chosen form only.
   */
  show({ photo, faces, mirrored, matchColors, live }) {
    const form = faces.length ? this.form : "scene";
    const wanted = (...forms) => !live || forms.includes(form);
    this.#chosen = Math.min(this.#chosen, Math.max(faces.length - 1, 0));
    this.#view.dataset.form = form;
    this.#view.classList.toggle("mirrored", mirrored);
    this.#strip.classList.toggle("mirrored", mirrored);
    this.#handle.disabled = !faces.length;
    if (wanted("scene", "cutout")) draw(byId("photo"), photo);
    if (wanted("scene")) composite(byId("composite"), photo, faces, matchColors);
    if (wanted("cutout")) cutout(byId("cutout"), photo, faces, matchColors);
    this.#showPortrait(photo, faces[this.#chosen]);
    this.#showStrip(faces);
    const { width, height } = form === "portrait" ? byId("face") : photo;
    this.#pair.style.setProperty("--ratio", width / height);
    // A face is a few hundred pixels wide, and is shown larger; a photo is not.
    this.#pair.style.setProperty("--own-width", `${form === "portrait" ? 4 * width : 2 * width}px`);
  }

  #showPortrait(photo, face) {
    if (!face) {
      for (const id of ["face", "aligned"]) byId(id).width = byId(id).height = 1;
      return;
    }
    draw(byId("face"), face.picture);
    draw(byId("aligned"), alignedFace(photo, face.crop, face.picture));
  }

  #showStrip(faces) {
    this.#strip.hidden = faces.length < 2;
    while (this.#strip.children.length > faces.length) this.#strip.lastChild.remove();
    while (this.#strip.children.length < faces.length) this.#strip.append(this.#button());
    faces.forEach(({ picture }, index) => {
      const button = this.#strip.children[index];
      button.setAttribute("aria-pressed", String(index === this.#chosen));
      const [canvas] = button.children;
      canvas.getContext("2d").drawImage(picture, 0, 0, THUMB_SIDE, THUMB_SIDE);
    });
  }

  #button() {
    const index = this.#strip.children.length;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Portrait of face ${index + 1}`);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMB_SIDE;
    button.append(canvas);
    button.addEventListener("click", () => {
      this.#chosen = index;
      byId("portrait-form").checked = true;
      this.#changed();
    });
    return button;
  }

  #place() {
    const share = this.#handle.valueAsNumber;
    this.#pair.style.setProperty("--at", `${share}%`);
    this.#pair.dataset.shows = share === 0 ? "stylized" : share === 100 ? "original" : "both";
    this.#handle.setAttribute("aria-valuetext", `${share} % original`);
  }
}

function draw(canvas, source) {
  canvas.width = source.width;
  canvas.height = source.height;
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0);
}
