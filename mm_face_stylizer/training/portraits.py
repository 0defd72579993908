"""Portraits to train on: decoded once, split by file name, in reproducible batches."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.held_out import PICTURE_SUFFIXES, is_held_out
from task_bundle.media.images import load_image

_HUE_SHARE = 0.4


@dataclasses.dataclass(frozen=True)
class PortraitBatch:
    """A batch of portraits with the random changes that one step applies to them.

    Attributes:
      images: uint8 [batch, side, side, 3].
      color: Affine color change of each picture, [batch, 3, 4], on RGB in [-1, 1].
    """

    images: np.ndarray
    color: np.ndarray


class Portraits:
    """Aligned square portraits of a folder, decoded into a memory-mapped cache.

    Attributes:
      side: Side of every portrait in pixels.
      train_names: File names to train on.
      held_out_names: File names never trained on.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        cache: str | os.PathLike,
        side: int = 256,
        wanted: Collection[str] | None = None,
        holds_out: Callable[[str], bool] = is_held_out,
    ):
        """Decodes the folder, or opens the cache if it has the same files.

        Args:
          folder: Folder of portraits, cropped as `task_bundle.faces.alignment.FaceCrop` crops.
          cache: Folder for the decoded pictures; made if it is missing.
          side: Side in pixels to which portraits are resized.
          wanted: Names of the files to take; all if None.
          holds_out: Says of a file name whether to hold it out.

        Raises:
          ValueError: The folder holds fewer than two portraits.
          ImageError: A portrait cannot be read.
        """
        folder, cache = pathlib.Path(folder), pathlib.Path(cache)
        if not folder.is_dir():
            raise DataError(f"The portraits' folder {folder} does not exist.")
        names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if wanted is not None:
            names = [name for name in names if name in wanted]
        self.side = side
        self.train_names = [name for name in names if not holds_out(name)]
        self.held_out_names = [name for name in names if holds_out(name)]
        if not self.train_names or not self.held_out_names:
            raise DataError(
                f"{folder} has {len(self.train_names)} portraits to train on and "
                f"{len(self.held_out_names)} to hold out; both are needed."
            )
        self._train = self._decoded(folder, cache / f"train_{side}.npy", self.train_names)
        self._held_out = self._decoded(folder, cache / f"held_out_{side}.npy", self.held_out_names)

    def _decoded(self, folder, path, names):
        listing = path.with_suffix(".txt")
        # Bytes, because names need not be UTF-8.
        wanted = os.fsencode("\n".join(names))
        if not (path.exists() and listing.exists() and listing.read_bytes() == wanted):
            import cv2

            path.parent.mkdir(parents=True, exist_ok=True)
            listing.unlink(missing_ok=True)
            shape = (len(names), self.side, self.side, 3)
            pictures = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
            for index, name in enumerate(tqdm(names, desc="Decoding portraits", unit="image")):
                image = load_image(folder / name)
                if image.shape[:2] != (self.side, self.side):
                    image = cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
                pictures[index] = image
            pictures.flush()
            # The listing is written last, so that a run that was killed halfway decodes again.
            listing.write_bytes(wanted)
        return np.load(path, mmap_mode="r")

    def held_out(self, count: int | None = None) -> np.ndarray:
        """Returns held-out portraits, uint8 [count, side, side, 3]: all, or some evenly spaced."""
        total = len(self._held_out)
        chosen = np.linspace(0, total - 1, min(count or total, total)).astype(int)
        return np.asarray(self._held_out[chosen])

    def training(self) -> np.ndarray:
        """Returns all training portraits, memory-mapped, uint8 [count, side, side, 3]."""
        return self._train

    def batch(self, size: int, seed: int, step: int) -> PortraitBatch:
        """Draws a batch, mirrored at random and with random color changes.

        Args:
          size: Portraits in the batch.
          seed: Seed of the run.
          step: Step of the run; the same seed and step give the same batch.
        """
        random = np.random.default_rng((seed, step))
        images = self._train[np.sort(random.integers(0, len(self._train), size))]
        mirrored = random.random(size) < 0.5
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        return PortraitBatch(images=images, color=_color_changes(random, size))


def _hue_rotations(angles: np.ndarray) -> np.ndarray:
    """Returns rotations of RGB about the gray axis, [count, 3, 3] (Rodrigues' formula)."""
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3.0)
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    return cosine * np.eye(3) + (1.0 - cosine) / 3.0 + sine * axis


def _color_changes(random: np.random.Generator, size: int) -> np.ndarray:
    """Draws color changes: half of the pictures change their saturation, gain and offset.

    Two in five of those also change their hue, by any angle. Styles have palettes that no photo
    has, and a network that rarely sees green draws green hats in blue.
    """
    luma = np.array([0.299, 0.587, 0.114])
    saturation = random.uniform(0.0, 1.5, (size, 1, 1))
    gain = random.uniform(0.75, 1.2, (size, 1, 1)) * random.uniform(0.9, 1.1, (size, 3, 1))
    offset = random.uniform(-0.15, 0.15, (size, 1, 1)) + random.uniform(-0.05, 0.05, (size, 3, 1))
    matrix = gain * (saturation * np.eye(3) + (1.0 - saturation) * luma)
    angles = random.uniform(-np.pi, np.pi, size) * (random.random(size) < _HUE_SHARE)
    matrix = matrix @ _hue_rotations(angles)
    changed = np.concatenate([matrix, offset], axis=2)
    unchanged = np.broadcast_to(np.eye(3, 4), changed.shape)
    keep = random.random((size, 1, 1)) < 0.5
    return np.where(keep, unchanged, changed).astype(np.float32)
