// Times of the last runs.

const WINDOW = 60;

export class Latencies {
  #runs = [];

  /** Takes milliseconds by stage. */
  add(run) {
    this.#runs.push(run);
    if (this.#runs.length > WINDOW) this.#runs.shift();
  }

  clear() {
    this.#runs = [];
  }

  get count() {
    return this.#runs.length;
  }

  /** Of a stage's times, the smallest that a share of them does not exceed; null without runs. */
  quantile(stage, share) {
    const times = this.#runs.map((run) => run[stage]).sort((a, b) => a - b);
    return times.length ? times[Math.max(Math.ceil(share * times.length), 1) - 1] : null;
  }
}
