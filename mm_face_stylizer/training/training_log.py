"""The log of a training run: losses as JSON lines, TensorBoard events and plotted curves."""

from __future__ import annotations

import json
import math
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.loss_plot import save_loss_plot


class TrainingLog:
    """Losses of a run, in `log.jsonl`, `tensorboard/` and `loss.png` of its folder.

    `log.jsonl` is authoritative. TensorBoard's event files cannot drop the steps that a killed run
    did after its last checkpoint, so they are rewritten from it when a run resumes.
    """

    def __init__(self, folder: pathlib.Path, title: str, step: int):
        """Opens the log of a run that resumes after `step` steps.

        Args:
          folder: Folder of the run.
          title: Title of the curves.
          step: Steps done so far; entries of later steps are deleted.
        """
        self._title = title
        self._path = folder / "log.jsonl"
        self._plot_path = folder / "loss.png"
        self._events = folder / "tensorboard"
        self._writer: tf.summary.SummaryWriter | None = None
        if self._path.exists():
            lines = self._path.read_text().splitlines()
            kept = [line for line in lines if _logged_step(line) <= step]
            self._path.write_text("".join(line + "\n" for line in kept))

    def add(self, step: int, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Logs the means of some steps' losses.

        Args:
          step: Number of the last of these steps.
          history: Losses of each step; a loss that only some steps have is averaged over those.

        Returns:
          The means.
        """
        names = dict.fromkeys(name for entry in history for name in entry)
        means = {
            name: float(np.mean([entry[name] for entry in history if name in entry]))
            for name in names
        }
        with self._path.open("a") as log:
            log.write(json.dumps({"step": step, **means}) + "\n")
        if self._writer is None:
            self._rewrite_events()
        else:
            self._write_events(step, means)
        self._writer.flush()
        return means

    def draw(self) -> None:
        """Plots the curves into `loss.png`."""
        curves: dict[str, tuple[list[float], list[float]]] = {}
        for entry in self._entries():
            for name, value in entry.items():
                if name != "step":
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(entry["step"])
                    values.append(value)
        save_loss_plot(curves, self._title, self._plot_path, overwrite=True)

    def _entries(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def _rewrite_events(self) -> None:
        shutil.rmtree(self._events, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(self._events))
        for entry in self._entries():
            self._write_events(int(entry.pop("step")), entry)

    def _write_events(self, step: int, values: Mapping[str, float]) -> None:
        # `tf.summary.scalar` needs TensorBoard, which newer versions of TensorFlow do not install.
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = "scalars"
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, np.float32(value), step, metadata)


def _logged_step(line: str) -> float:
    """Returns the step of a log line; infinity for the incomplete last line of a killed run."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return math.inf
