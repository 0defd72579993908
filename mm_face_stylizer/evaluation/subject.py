"""What is evaluated: a preset's networks, or a bundle's stylizer."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from tqdm import tqdm

from mm_face_stylizer.evaluation.picture_quality import Pictures
from mm_face_stylizer.preset import Preset
from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.runtime.stylizer_model import StylizerModel
from task_bundle.tflite.validation import check_loads

_BATCH = 16


class Subject(Protocol):
    """Something that makes a picture of an aligned portrait.

    Attributes:
      name: A preset's name, a bundle's file.
      kind: 'preset' or 'bundle'.
      sha256: Of a preset's weights, of a bundle.
      side: Side in pixels of the portraits that it takes.
    """

    name: str
    kind: Literal["preset", "bundle"]
    sha256: str
    side: int

    def pictures(self, photos: Pictures) -> Pictures:
        """Makes a picture of each portrait.

        Args:
          photos: uint8 [count, side, side, 3], aligned.

        Returns:
          uint8 of the same shape.
        """


class PresetSubject:
    """A preset: portraits are reconstructed, and faces that nobody has are generated."""

    kind: Literal["preset"] = "preset"

    def __init__(self, preset: Preset) -> None:
        """Builds the networks.

        Args:
          preset: The preset.

        Raises:
          PresetError: Its weights are missing or not those of its card.
        """
        self.name = str(preset.card.get("name", preset.folder.name))
        build: Any = preset.networks
        self._networks = build()
        self.sha256 = str(preset.card["sha256"])
        self.side = int(self._networks.encoder.input_shape[1])

    def pictures(self, photos: Pictures) -> Pictures:
        """See `Subject.pictures`."""
        batches = _batches(len(photos))
        made = [
            self._networks.reconstruct(photos[rows])
            for rows in tqdm(batches, "Reconstructing", unit="batch", leave=False)
        ]
        return _of_side(np.concatenate(made), self.side)

    def generated(self, count: int, seed: int, truncation: float | None) -> Pictures:
        """Generates faces.

        Args:
          count: Number of faces.
          seed: Seed of the noise.
          truncation: Factor on the distance of the mapping network's w+ latents from the mean
            latent; 0 is the mean face, 1 the mapping network as it is. Source: Karras et al., "A
            style-based generator architecture" (2019), section 3 and appendix B. None: faces as
            few-shot training draws them, from the face prior.

        Returns:
          uint8 [count, side, side, 3].
        """
        from mm_face_stylizer.models.blaze_stylegan.networks import rows_of
        from mm_face_stylizer.pixels import to_pixels

        networks = self._networks
        if truncation is None:
            latents = networks.generated_latents(count, seed)
        else:
            noise = networks.random_latents(count, seed)
            latents = {"inputs": networks.w_avg + truncation * (noise - networks.w_avg)}
        # As pixels at once: a thousand faces of 512 px would be gigabytes of float32.
        faces = [
            to_pixels(networks.synthesis(rows_of(latents, rows))["image"][-1].numpy())
            for rows in tqdm(_batches(count), "Generating", unit="batch", leave=False)
        ]
        return _of_side(np.concatenate(faces), self.side)


class BundleSubject:
    """A bundle, run in LiteRT as the portable runtime runs it.

    Its stylizer gets the aligned portrait itself. To find the face once more would crop a second
    time: a portrait's edge is as far from the face as the crop's, so the crop would be a slightly
    other one, with a black border where it goes beyond.
    """

    kind: Literal["bundle"] = "bundle"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens a bundle.

        Args:
          path: The `.task` file.

        Raises:
          BundleError: It is no bundle of a face stylizer, or not safe to load, or LiteRT cannot run
            it.
          OSError: It cannot be read.
        """
        self.name = Path(path).name
        content = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        bundle = TaskBundle.open(path)
        check_loads(bundle.entries(), "the bundle")
        self._model = StylizerModel(bundle.stylizer)
        width, self.side = self._model.input_size
        if width != self.side:
            raise BundleError(
                f"{path}: its stylizer takes {width} x {self.side} pixels; only stylizers of "
                "square pictures can be evaluated"
            )

    def pictures(self, photos: Pictures) -> Pictures:
        """See `Subject.pictures`."""
        progress = tqdm(photos, "Stylizing", unit="image", leave=False)
        return _of_side(np.stack([self._model.run(photo) for photo in progress]), self.side)


def find_subject(name: str | os.PathLike[str]) -> PresetSubject | BundleSubject:
    """Opens a bundle or a preset.

    Args:
      name: A `.task` file, a preset's folder, or a preset's name.

    Raises:
      BundleError: A file is no bundle that can be run.
      PresetError: There is no such preset, or it is damaged.
      OSError: A file cannot be read.
    """
    path = Path(name)
    if path.suffix.lower() == ".task" or path.is_file():
        return BundleSubject(path)
    return PresetSubject(Preset.find(path))


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, count, _BATCH)]


def _of_side(pictures: Pictures, side: int) -> Pictures:
    """Brings pictures to the photos' size, to compare them pixel by pixel."""
    import cv2

    if pictures.shape[1] == side:
        return pictures
    way = cv2.INTER_AREA if pictures.shape[1] > side else cv2.INTER_LINEAR
    return np.stack([cv2.resize(one, (side, side), interpolation=way) for one in pictures])
