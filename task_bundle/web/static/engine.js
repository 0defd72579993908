// The stylizer in its worker, as the page sees it.

/** Why the stylizer cannot go on: `what` is "files", "bundle" or "run". */
export class EngineError extends Error {
  constructor(what, message) {
    super(message);
    this.what = what;
  }
}

export class Engine {
  #worker = new Worker("/stylizer_worker.js");
  // The worker answers in the order it is asked.
  #waiting = [];

  constructor(delegate) {
    this.delegate = delegate;
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

  /** Loads MediaPipe and the bundle; `delegate` is "CPU" or "GPU". */
  static async open(delegate) {
    const engine = new Engine(delegate);
    try {
      await engine.#ask({ kind: "open", delegate });
    } catch (error) {
      // After a trap WebAssembly is of no more use.
      engine.close();
      throw error;
    }
    return engine;
  }

  /** Stylizes an ImageBitmap, which it takes away; see the worker for the answer. */
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
