// The times of the last runs.

const MAX_RUNS = 60;

export class Latencies {
  #runs = [];

  /** Adds a run: its times in milliseconds, by stage. */
  add(run) {
    this.#runs.push(run);
    if (this.#runs.length > MAX_RUNS) this.#runs.shift();
  }

  get count() {
    return this.#runs.length;
  }

  /** Returns a quantile of a stage's times: 0.5 is the median. Null if there are no runs. */
  quantile(stage, fraction) {
    const times = this.#runs.map((run) => run[stage]).sort((a, b) => a - b);
    return times.length ? times[Math.max(Math.ceil(fraction * times.length), 1) - 1] : null;
  }
}
