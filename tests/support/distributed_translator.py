"""A worker of a translator's training that is small enough for a test; as a program, one of two.

    python distributed_translator.py FOLDER RESULT.json

The environment variable TF_CONFIG says which one.
"""

from __future__ import annotations

import json
import pathlib
import sys

from tiny_translator import CONFIG, features, two_domains

from mm_face_stylizer._keras import tf
from mm_face_stylizer.training.distribution import Distribution
from mm_face_stylizer.training.translator.translator_training import (
    TranslatorOptions,
    TranslatorStage,
    TranslatorTraining,
)

# The pool is full after the first step.
OPTIONS = TranslatorOptions(
    CONFIG, (TranslatorStage(3, 4),), pool_size=3, discriminator_width=8, learning_rate=1e-3
)


def trained(folder: pathlib.Path) -> list[dict[str, float]]:
    """Trains in the active scope; returns the losses of the steps."""
    history: list[dict[str, float]] = []
    domains = two_domains(folder / "domains")
    run = TranslatorTraining(OPTIONS, domains, folder / "run", features)
    run.run(lambda step, values: history.append(values))
    return history


def _main(folder: str, result: str) -> None:
    # To optimize the graph takes longer than these few steps.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    with Distribution.named("multi_worker_mirrored").scope():
        history = trained(pathlib.Path(folder))
    pathlib.Path(result).write_text(json.dumps(history))


if __name__ == "__main__":
    _main(*sys.argv[1:])
