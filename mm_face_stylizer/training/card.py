"""The part of a preset's card about its training: code, data, machine, ancestors."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import hashlib
import io
import os
import pathlib
import platform
import subprocess
from collections import Counter
from typing import Any

from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import DataError
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.run import TrainingRun
from task_bundle.files import atomic_write

_UNKNOWN = "unknown"

_ANCESTOR_FIELDS = (
    "name", "released", "command", "commit", "start", "seed", "batch_size", "learning_rate",
    "steps", "hours", "stages", "machine", "prior", "history", "sha256",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a run's weights come from.

    Attributes:
      name: Name of the preset.
      command: Command line of the training.
      commit: Commit of the code.
      data_list: CSV with the columns file, source, licence; None if there is none.
      start: Card of the preset that the run started from; None if it started from noise.

    Raises:
      OSError: The list cannot be read.
      ValueError: The list is no CSV file in UTF-8 with a column `file`.
    """

    name: str
    command: str
    commit: str
    data_list: pathlib.Path | None = None
    start: dict[str, Any] | None = None

    def __post_init__(self):
        """Reads the list, so that errors in it are reported before hours of training."""
        self.sources()

    def sources(self) -> dict[str, tuple[str, str]]:
        """Returns source and license of each file of the list, `unknown` if it does not say."""
        if self.data_list is None:
            return {}
        try:
            with self.data_list.open(newline="", encoding="utf-8-sig") as listing:
                reader = csv.DictReader(listing)
                if "file" not in (reader.fieldnames or ()):
                    raise DataError(
                        f"{self.data_list} has no column 'file'; its first line must name the "
                        "columns: file, and any of source, licence"
                    )
                return {
                    row["file"]: (row.get("source") or _UNKNOWN, row.get("licence") or _UNKNOWN)
                    for row in reader
                }
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{self.data_list} is not a CSV file in UTF-8: {error}") from error


def running_commit() -> str:
    """Returns the commit of the running code, `unknown` outside of a Git checkout."""
    folder = pathlib.Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return _UNKNOWN
    return described.stdout.strip()


def run_card(run: TrainingRun, provenance: Provenance) -> dict[str, Any]:
    """Returns the fields that the cards of all trainings have: the run, the code, the machine.

    Args:
      run: A run whose options have stages, a seed, a batch size and a learning rate.
      provenance: Where the weights come from.
    """
    return {
        "name": provenance.name,
        "licence": "Apache-2.0",
        "released": datetime.date.today().isoformat(),
        "command": provenance.command,
        "commit": provenance.commit,
        "start": provenance.start and _ancestor(provenance.start),
        "seed": run.options.seed,
        "batch_size": run.options.batch_size,
        "learning_rate": run.options.learning_rate,
        "steps": run.step,
        "hours": round(run.hours, 2),
        "stages": [dataclasses.asdict(stage) for stage in run.options.stages],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}",
    }


def _ancestor(card: dict[str, Any]) -> dict[str, Any]:
    """Returns what a card says about the preset that training started from, and its ancestors."""
    return {name: card[name] for name in _ANCESTOR_FIELDS if name in card}


def data_card(portraits: Portraits, provenance: Provenance, folder: pathlib.Path) -> dict:
    """Writes the list of portraits into a preset's folder.

    Args:
      portraits: The run's portraits.
      provenance: Where the portraits come from.
      folder: The preset's folder, in which `data.csv` is replaced.

    Returns:
      The card's field `data`, a summary of the list.
    """
    sources = provenance.sources()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "source", "split"])
    summary: Counter[tuple[str, str]] = Counter()
    for split, names in (
        ("train", portraits.train_names),
        ("held_out", portraits.held_out_names),
    ):
        for name in names:
            source, licence = sources.get(name, (_UNKNOWN, _UNKNOWN))
            writer.writerow([name, source, split])
            if split == "train":
                summary[source, licence] += 1
    content = text.getvalue().encode()
    atomic_write(folder / "data.csv", content, overwrite=True)
    return {
        "train": len(portraits.train_names),
        "held_out": len(portraits.held_out_names),
        "held_out_rule": "the file's number is divisible by ten",
        "list": "data.csv",
        "list_sha256": hashlib.sha256(content).hexdigest(),
        "sources": [
            {"source": source, "licence": licence, "train": count}
            for (source, licence), count in sorted(summary.items())
        ],
    }
