// The page's interface to the stylizer, which runs in a worker.

/**
 * An error of the stylizer.
 *
 * `what` is "files" if the server does not provide a file, "bundle" if MediaPipe cannot open the
 * bundle, or "run" if it cannot stylize a picture.
 */
export class EngineError extends Error {
  constructor(what, message) {
    super(message);
    this.what = what;
  }
}

export class Engine {
  #worker = new Worker("/stylizer_worker.js");
  // Promises of the requests under way; the worker answers in the order of the requests.
  #waiting = [];

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.shift();
      if (data.kind === "failed") reject(new EngineError(data.what, data.message));
      else resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new EngineError("files", event.message || "the worker's script does not load");
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
  }

  /** Loads MediaPipe and the bundle. Throws an EngineError. */
  static async open() {
    const engine = new Engine();
    try {
      await engine.#ask({ kind: "open" });
    } catch (error) {
      // After a trap, the WebAssembly instance cannot be used any more.
      engine.close();
      throw error;
    }
    return engine;
  }

  /** Stylizes an ImageBitmap, which is transferred; see `stylize` of the worker for the result. */
  stylize(image) {
    return this.#ask({ kind: "stylize", image }, [image]);
  }

  close() {
    this.#worker.terminate();
  }

  #ask(message, transfer = []) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(message, transfer);
    });
  }
}
