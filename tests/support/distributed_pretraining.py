"""A worker of a pretraining that is small enough for a test; run as a program, it is one of two.

    python distributed_pretraining.py PORTRAITS FOLDER RESULT.json

The environment variable TF_CONFIG says which one.
"""

from __future__ import annotations

import json
import pathlib
import sys

from tiny import TinyMesh

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.training import distribution
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
from mm_face_stylizer.training.blaze_stylegan.schedules import PretrainingOptions, Stage
from mm_face_stylizer.training.distribution import Distribution, WorkerError
from mm_face_stylizer.training.portraits import Portraits

# Batch statistics, spatial dropout, features, and an adversary: all that looks at a whole batch.
_STAGE = Stage(
    64,
    steps=4,
    finest_weight=0.5,
    colour_weight=1.0,
    detail_weight=0.2,
    perceptual_weight=0.5,
    perceptual_images=4,
    adversarial_share=0.5,
)
OPTIONS = PretrainingOptions(
    (_STAGE,),
    image_size=64,
    batch_size=8,
    learning_rate=0.01,
    width=0.125,
)


def pretrained(
    pictures: pathlib.Path, folder: pathlib.Path
) -> tuple[Pretraining, list[dict[str, float]]]:
    """Trains in the active scope; returns the run and the losses of its steps."""
    history: list[dict[str, float]] = []
    portraits = Portraits(pictures, folder / "cache", side=64)
    run = Pretraining(OPTIONS, portraits, TinyMesh(), folder)
    run.run(lambda step, values: history.append(values))
    return run, history


def measured(worker: Distribution) -> dict[str, list[float]]:
    """What the replicas' functions give for the rows 0 to 7 of a batch."""
    with worker.scope():
        weight = tf.Variable(0.0)
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build([weight])

    def step(batch):
        rows = distribution.own_rows(batch)
        columns = distribution.own_rows(tf.reshape(batch, (2, 4)), axis=1)
        # By 3, which is less than the mean of the rows, 3.5.
        distribution.apply_gradients(optimizer, [tf.reduce_mean(rows)], [weight], 3.0)
        clipped = weight.read_value()
        distribution.apply_gradients(optimizer, [tf.reduce_mean(rows)], [weight])
        context = tf.distribute.get_replica_context()
        return {
            "rows": context.all_gather(rows[tf.newaxis], axis=0),
            "columns": context.all_gather(columns[tf.newaxis], axis=0),
            "gathered": distribution.gathered(rows),
            "mean": distribution.mean(tf.reduce_sum(rows)),
            "norm": distribution.norm(rows),
            "clipped": clipped,
            "weight": weight.read_value(),
        }

    values = worker.compiled(step)(tf.range(8.0))
    return {name: value.numpy().tolist() for name, value in values.items()}


def _main(pictures: str, folder: str, result: str) -> None:
    # To optimize the graph takes longer than these few steps.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    worker = Distribution.named("multi_worker_mirrored")
    found = {"replicas": worker.replicas, "worker": worker.worker, "measured": measured(worker)}
    with worker.scope():
        _, found["history"] = pretrained(pathlib.Path(pictures), pathlib.Path(folder))
    try:
        worker.check_same(worker.worker, "numbers")
    except WorkerError as error:
        found["error"] = str(error)
    pathlib.Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
