"""Networks and portraits small enough for a test."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMesh
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.run import TrainingRun
from task_bundle.faces.alignment import FaceFinder
from task_bundle.media.images import save_png

CONFIG = NetworksConfig(image_size=64, width=0.125)
# The smallest that can grow.
LARGER = NetworksConfig(image_size=128, width=0.125)


def tiny_networks(seed: int = 0) -> Networks:
    """Untrained networks at 64 px."""
    keras.utils.set_random_seed(seed)
    return Networks.build(CONFIG)


@contextlib.contextmanager
def presets_opened_once() -> Iterator[None]:
    """Builds a preset's networks once, for all who open it, who must leave them as they are.

    Building tiny networks takes as long as all else that a short training does.
    """
    opened = {}
    build = Preset.networks

    def networks(preset: Preset) -> Networks:
        if preset.folder not in opened:
            opened[preset.folder] = build(preset)
        return opened[preset.folder]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Preset, "networks", networks)
        yield


def write_portraits(folder: pathlib.Path, portrait: np.ndarray, count: int = 24) -> pathlib.Path:
    """Writes variations of an aligned portrait, numbered from 1: every tenth is held out."""
    with FaceFinder() as finder:
        aligned = finder.find(portrait)[0].crop.crop(portrait, 64)
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(1, count + 1):
        shade = random.uniform(0.6, 1.0, 3)
        picture = np.clip(np.roll(aligned, number % 5, axis=1) * shade, 0, 255).astype(np.uint8)
        save_png(folder / f"{number:05d}.png", picture)
    return folder


def write_pictures(folder: pathlib.Path, side: int = 64, count: int = 24) -> pathlib.Path:
    """Writes pictures that look a little alike, numbered from 1: every tenth is held out."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    for number in range(1, count + 1):
        shift, skin, wall = random.uniform(-0.2, 0.2), *random.uniform(60, 250, (2, 3))
        head = (x - shift) ** 2 + 0.7 * y**2 < 0.4
        picture = np.where(head[..., np.newaxis], skin, wall)
        save_png(folder / f"{number:05d}.png", picture.astype(np.uint8))
    return folder


class TinyMesh:
    """Stands in for `FaceMeshFeatures`, at next to no cost: maps and points of any picture."""

    def __call__(self, image: tf.Tensor) -> FaceMesh:
        pooled, features = image, []
        for _ in range(5):
            rises = pooled - tf.roll(pooled, 1, axis=2)
            features.append(tf.concat([pooled + 1.0, tf.abs(rises)], axis=-1))
            pooled = tf.nn.avg_pool2d(pooled, 2, 2, "SAME")
        landmarks = tf.reduce_mean(image, axis=2)[:, :8] / 10.0
        return FaceMesh(features, landmarks)


def run_as_if_killed(run: TrainingRun, saved: int, folder: pathlib.Path) -> list[dict[str, float]]:
    """Runs to the end, and leaves a folder as a run that was killed on the way leaves it.

    Args:
      run: A run that has not begun.
      saved: Step after which the killed run saved its last checkpoint; it goes on for two more.
      folder: The killed run's folder, to be made.

    Returns:
      The losses of every step.
    """
    history = []

    def watch(step, values):
        history.append(values)
        run._checkpoint_seconds = 0.0 if step == saved else 1e9
        if step == saved + 2:
            shutil.copytree(run.folder, folder)

    run.run(watch)
    return history


@contextlib.contextmanager
def eager_steps() -> Iterator[None]:
    """Steps are taken without graphs: to trace one takes longer than a few of them."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def assert_resumes(resumed: TrainingRun, saved: int, history: list[dict[str, float]]) -> None:
    """Ends a killed run and compares its losses with those of the one that was not killed."""
    assert resumed.step == saved
    again = []
    with eager_steps():
        resumed.run(lambda step, values: again.append(values))
    for index, (wanted, found) in enumerate(zip(history[saved:], again, strict=True)):
        assert found == pytest.approx(wanted, rel=1e-3), saved + index
