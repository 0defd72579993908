"""Networks and portraits small enough for a test."""

from __future__ import annotations

import pathlib

import numpy as np

from mm_face_stylizer._keras import keras
from mm_face_stylizer.networks import Networks, NetworksConfig
from task_bundle.alignment import FaceFinder
from task_bundle.images import save_png

CONFIG = NetworksConfig(image_size=64, width=0.125)


def tiny_networks(seed: int = 0) -> Networks:
    """Untrained networks at 64 px."""
    keras.utils.set_random_seed(seed)
    return Networks.build(CONFIG)


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
