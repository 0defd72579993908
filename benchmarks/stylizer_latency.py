"""Latency of the exported stylizer on this machine, as a ratio to the face landmark model.

    python -m benchmarks.stylizer_latency [BUNDLE.task]

LiteRT, one thread. The models run in turns, so that a machine that drifts drifts for all of them.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import sys
import time

import numpy as np


class _Model:
    def __init__(self, content: bytes):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        detail = self._interpreter.get_input_details()[0]
        image = np.random.default_rng(0).uniform(0, 1, detail["shape"]).astype(np.float32)
        self._interpreter.set_tensor(detail["index"], image)
        self.milliseconds: list[float] = []

    def run(self, counted: bool) -> None:
        begin = time.perf_counter()
        self._interpreter.invoke()
        if counted:
            self.milliseconds.append(1e3 * (time.perf_counter() - begin))


def measure(models: dict[str, bytes], rounds: int) -> dict[str, list[float]]:
    """Milliseconds a call by model.

    Args:
      models: TFLite flatbuffers by name.
      rounds: Calls of each that count; ten more warm up.
    """
    loaded = {name: _Model(content) for name, content in models.items()}
    for index in range(rounds + 10):
        for model in loaded.values():
            model.run(counted=index >= 10)
    return {name: model.milliseconds for name, model in loaded.items()}


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=pathlib.Path, metavar="BUNDLE.task")
    parser.add_argument("--rounds", type=int, default=100, help="counted calls (100)")
    arguments = parser.parse_args()
    from task_bundle import TaskBundle, find_face_models

    if arguments.bundle is not None:
        bundle = TaskBundle.open(arguments.bundle)
        models = {"landmarks": bundle.landmarks, "stylizer": bundle.stylizer}
    else:
        from mm_face_stylizer.export import PRECISIONS, export_stylizer
        from mm_face_stylizer.preset import Preset

        networks = Preset.find().networks()
        models = {"landmarks": find_face_models().landmarks}
        models |= {f"stylizer, {p}": export_stylizer(networks, p) for p in PRECISIONS}
    measured = measure(models, arguments.rounds)
    reference = statistics.median(measured["landmarks"])
    report = {
        name: {
            "median_ms": round(statistics.median(values), 2),
            "quartiles_ms": [round(q, 2) for q in statistics.quantiles(values)[::2]],
            "over_landmarks": round(statistics.median(values) / reference, 2),
            "bytes": len(models[name]),
        }
        for name, values in measured.items()
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
