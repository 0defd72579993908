"""Patches of pictures to train an upscaler on: portraits, and drawings beside them."""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.errors import DataError
from mm_face_stylizer.held_out import PICTURE_SUFFIXES, is_held_out
from task_bundle.files import atomic_write
from task_bundle.media.images import load_image


class PictureFolder:
    """Pictures of a folder and its subfolders, decoded once into a memory-mapped cache.

    Attributes:
      train_names: Paths in the folder of the pictures to train on.
      held_out_names: Paths in the folder of the pictures never trained on.
      held_out_side: Side in pixels of the largest middle that all of these have, a multiple of 8;
        0 if there are none.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        cache: str | os.PathLike,
        smallest_side: int,
        largest_side: int = 512,
    ):
        """Decodes the folder, or opens the cache if it has the same files.

        Args:
          folder: Folder of pictures of any size.
          cache: Folder for the decoded pictures; made if it is missing.
          smallest_side: Pictures with a shorter side in pixels are left out.
          largest_side: Pictures whose shorter side is longer are reduced to this one, which also
            removes the noise of cameras and of JPEG.

        Raises:
          DataError: The folder does not exist, or has no picture to train on.
          ImageError: A picture cannot be read.
        """
        folder, cache = pathlib.Path(folder), pathlib.Path(cache)
        if not folder.is_dir():
            raise DataError(f"The pictures' folder {folder} does not exist.")
        files = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES]
        names = sorted(path.relative_to(folder).as_posix() for path in files)
        self._open(folder, cache, names, smallest_side, largest_side)
        self._train = [i for i, name in enumerate(self._names) if not is_held_out(name)]
        self._held_out = [i for i, name in enumerate(self._names) if is_held_out(name)]
        if not self._train:
            raise DataError(
                f"{folder} has no picture to train on whose shorter side has {smallest_side} px"
            )
        self.train_names = [self._names[index] for index in self._train]
        self.held_out_names = [self._names[index] for index in self._held_out]
        self.held_out_side = int(self._sizes[self._held_out].min(initial=2**16)) // 8 * 8
        self.held_out_side *= bool(self._held_out)

    def _open(self, folder, cache, names, smallest_side, largest_side):
        pixels, listing = cache / "pictures.bin", cache / "pictures.npz"
        wanted = np.frombuffer(os.fsencode("\n".join(names)), np.uint8)
        limits = np.array([smallest_side, largest_side])
        if listing.exists():
            with np.load(listing) as found:
                same = (("files", wanted), ("limits", limits))
                if all(np.array_equal(found[name], value) for name, value in same):
                    self._list(names, found["kept"], found["sizes"], pixels)
                    return
        cache.mkdir(parents=True, exist_ok=True)
        listing.unlink(missing_ok=True)
        kept, sizes = [], []
        with pixels.open("wb") as file:
            for index, name in enumerate(tqdm(names, desc="Decoding pictures", unit="image")):
                picture = _reduced(load_image(folder / name), largest_side)
                if min(picture.shape[:2]) < smallest_side:
                    continue
                file.write(picture.tobytes())
                kept.append(index)
                sizes.append(picture.shape[:2])
        # The listing is written last, so that a run that was killed halfway decodes again.
        content = io.BytesIO()
        np.savez(content, files=wanted, limits=limits, kept=np.array(kept, int), sizes=sizes)
        atomic_write(listing, content.getvalue(), overwrite=True)
        self._list(names, kept, sizes, pixels)

    def _list(self, names, kept, sizes, path):
        self._names = [names[index] for index in kept]
        self._sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
        self._ends = np.cumsum(3 * self._sizes.prod(axis=1))
        self._pixels = np.memmap(path, np.uint8, "r") if len(self._names) else None

    def _picture(self, index: int) -> np.ndarray:
        height, width = self._sizes[index]
        end = self._ends[index]
        return self._pixels[end - 3 * height * width : end].reshape(height, width, 3)

    def patch(self, random: np.random.Generator, side: int) -> np.ndarray:
        """Draws a patch of a training picture, turned and mirrored at random.

        Args:
          random: Source of randomness.
          side: Side of the patch in pixels.

        Returns:
          uint8 [side, side, 3].
        """
        picture = self._picture(self._train[random.integers(len(self._train))])
        top, left = (random.integers(length - side + 1) for length in picture.shape[:2])
        patch = np.rot90(picture[top : top + side, left : left + side], random.integers(4))
        return patch[:, ::-1] if random.random() < 0.5 else patch

    def held_out(self, count: int, side: int) -> np.ndarray:
        """Returns the middles of held-out pictures, evenly spaced among them.

        Args:
          count: Maximum number of pictures.
          side: Side of the middles in pixels, at most `held_out_side`.

        Returns:
          uint8 [count, side, side, 3]; empty if no picture is held out.
        """
        total = len(self._held_out)
        chosen = np.linspace(0, total - 1, min(count, total)).astype(int)
        middles = np.empty((len(chosen), side, side, 3), np.uint8)
        for middle, index in zip(middles, chosen, strict=True):
            picture = self._picture(self._held_out[index])
            top, left = ((length - side) // 2 for length in picture.shape[:2])
            middle[...] = picture[top : top + side, left : left + side]
        return middles


class Patches:
    """Batches of patches from several folders, with an equal share of each.

    Attributes:
      folders: The folders.
      side: Side of the patches in pixels, in the large picture.
      train_names: Paths in their folders of all pictures to train on.
      held_out_names: Paths in their folders of all pictures never trained on.
    """

    def __init__(self, folders: Sequence[PictureFolder], side: int):
        """Collects the names; see the attributes.

        Raises:
          DataError: No picture of any folder is held out.
        """
        self.folders = folders
        self.side = side
        self.train_names = [name for folder in folders for name in folder.train_names]
        self.held_out_names = [name for folder in folders for name in folder.held_out_names]
        if not self.held_out_names:
            raise DataError(
                "no picture is held out from the training; files whose number is divisible by ten "
                "would be"
            )

    def batch(self, size: int, seed: int, step: int) -> np.ndarray:
        """Draws a batch.

        Args:
          size: Patches in the batch. The folders take turns.
          seed: Seed of the run.
          step: Step of the run; the same seed and step give the same batch.

        Returns:
          uint8 [size, side, side, 3].
        """
        random = np.random.default_rng((seed, step))
        folders = [self.folders[(step + i) % len(self.folders)] for i in range(size)]
        return np.stack([folder.patch(random, self.side) for folder in folders])


def _reduced(picture: np.ndarray, largest_side: int) -> np.ndarray:
    """Reduces a picture whose shorter side is longer than `largest_side` pixels to this."""
    import cv2

    height, width = picture.shape[:2]
    factor = largest_side / min(height, width)
    if factor >= 1.0:
        return picture
    size = (round(width * factor), round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
