"""Photos stylized by a bundle, the targets of a translator that is to do the same in less time.

Sources: Li et al., "GAN Compression" (2020), section 3.1, for a teacher's pictures as pairs; Ren et
al., "Online Multi-Granularity Distillation for GAN Compression" (2021), for a student without a
discriminator.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.pairs import (
    Pairs,
    feature_mask,
    make_pairs,
    save_pairs,
)
from task_bundle.bundle import TaskBundle
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.runtime.stylizer_model import StylizerModel
from task_bundle.tflite.validation import check_loads

# Is raised when the same teacher gives other pairs than before, so that older caches are not read.
_VERSION = 1
_LEAST_PAIRS = 8


class Stylized(Pairs):
    """Training photos and their mirror images, each stylized by a bundle.

    A stylizer need not draw the mirror image of a photo as the mirror image of its picture. So both
    are asked of it, and what the student learns is what the teacher does.

    Attributes:
      mirrored: Whether each picture is of the mirrored photo, bool [count].
    """

    def __init__(
        self,
        domains: Domains,
        teacher: Teacher,
        cache: str | os.PathLike,
        people: int = 2000,
        seed: int = 0,
        face_models: FaceModels | None = None,
        workers: int = 2,
    ):
        """Stylizes photos; those that the cache has are loaded instead.

        Args:
          domains: Photos of exactly the side that is trained on.
          teacher: The stylizer.
          cache: Folder of the pictures; made if it is missing. A killed run goes on from there.
          people: Maximum number of photos.
          seed: Seed of the choice of photos.
          face_models: The models that find faces; `find_face_models()` if None.
          workers: Number of processes.

        Raises:
          BundleError: The teacher cannot be run.
          DataError: Faces are found in too few photos.
        """
        photos, side = domains.photos.training(), domains.loaded_side
        if side != domains.side:
            raise InvalidArgumentError(
                f"the photos have {side} px, the translator {domains.side} px; a teacher's "
                "pictures are not cropped, so that both must be the same"
            )
        chosen = np.sort(np.random.default_rng(seed).permutation(len(photos))[:people])
        names = [domains.photos.train_names[row] for row in chosen]
        origin = teacher.stylizer + repr((_VERSION, side, names)).encode()
        prepared = (teacher.stylizer, face_models)
        paths = make_pairs(
            cache, origin, photos, chosen, _stylize, _prepare, prepared, workers, "Stylizing"
        )
        super().__init__(domains, paths)
        if len(self.pictures) < 2 * _LEAST_PAIRS:
            raise DataError(
                f"a face was found in only {len(self.pictures) // 2} of {len(chosen)} photos; "
                f"a translator needs {_LEAST_PAIRS} to learn from a teacher"
            )
        self._teacher = teacher
        # `_stylize` writes each photo's picture, and then that of its mirror image.
        self.mirrored = np.arange(len(self.pictures)) % 2 == 1

    def card(self) -> dict[str, Any]:
        """See `Pairs.card`."""
        return {"teacher": self._teacher.card() | {"photos": len(self.pictures) // 2}}

    def pictures_of(self, photos: np.ndarray) -> np.ndarray:
        """See `Pairs.pictures_of`."""
        return self._teacher.pictures(photos)

    def _pair(self, index: int, random: np.random.Generator) -> list[np.ndarray]:
        photo = self._domains.photos.training()[self.photo_of[index]]
        photo = photo[:, ::-1] if self.mirrored[index] else photo
        return [photo, self.pictures[index], self.masks[index][..., np.newaxis]]


class Teacher:
    """The stylizer of a bundle that a translator learns from.

    Attributes:
      path: The bundle.
      stylizer: Its network, a TFLite flatbuffer.
      sha256: SHA-256 of the bundle's file, in hexadecimal.
      side: Side in pixels of the pictures that it takes.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens the bundle and checks that it has a stylizer of square pictures.

        Args:
          path: A `.task` bundle.

        Raises:
          BundleError: It is no bundle, it is not safe to load, LiteRT cannot run it, or its
            stylizer is not float32 from picture to picture.
          InvalidArgumentError: The stylizer's pictures are not square.
          OSError: The file cannot be read.
        """
        self.path = pathlib.Path(path)
        content = self.path.read_bytes()
        bundle = TaskBundle.open(self.path)
        check_loads(bundle.entries(), "the teacher")
        self.stylizer, self._provenance = bundle.stylizer, bundle.provenance
        self.sha256 = hashlib.sha256(content).hexdigest()
        width, height = StylizerModel(self.stylizer).input_size
        if width != height:
            raise InvalidArgumentError(
                f"the stylizer of {self.path} takes pictures of {width} x {height} px; a teacher's "
                "must be square"
            )
        self.side = width

    def pictures(self, photos: np.ndarray) -> np.ndarray:
        """Stylizes photos.

        Args:
          photos: Aligned faces, uint8 [count, side, side, 3], of any side.

        Returns:
          uint8 of the same shape.
        """
        model = StylizerModel(self.stylizer)
        return np.stack([_stylized(model, photo) for photo in photos])

    def card(self) -> dict[str, Any]:
        """Returns what a preset's card says about the teacher, and how it was made if it says."""
        made = {} if self._provenance is None else self._provenance.to_json()
        made.pop("thumbnail", None)
        return {
            "bundle": self.path.name,
            "sha256": self.sha256,
            "image_size": self.side,
            "made": made,
        }


# What a process stylizes with; `_prepare` sets the arguments once per process, and the first photo
# makes the models of them. Errors of an initializer would get lost.
_process: dict = {}


def _prepare(*arguments) -> None:
    """Initializes a process."""
    _process.clear()
    _process["arguments"] = arguments


def _models() -> tuple[StylizerModel, FaceFinder]:
    """Returns the process's stylizer and face finder."""
    if "models" not in _process:
        stylizer, face_models = _process["arguments"]
        _process["models"] = StylizerModel(stylizer), FaceFinder(face_models)
    return _process["models"]


def _stylize(path: pathlib.Path, photos: np.ndarray, rows: np.ndarray) -> None:
    """Stylizes photos and their mirror images, and writes the pictures to an NPZ file."""
    stylizer, finder = _models()
    side = photos.shape[1]
    pictures, masks, found = [], [], []
    for photo, row in zip(photos, rows, strict=True):
        faces = finder.find_with_margins(photo)
        if not faces:
            continue
        mask = feature_mask(faces[0].landmarks, side, side)
        for turn in (1, -1):
            pictures.append(_stylized(stylizer, photo[:, ::turn]))
            masks.append(mask[:, ::turn])
            found.append(row)
    save_pairs(path, side, pictures, masks, found)


def _stylized(stylizer: StylizerModel, photo: np.ndarray) -> np.ndarray:
    """Stylizes an aligned face of any side, uint8 [side, side, 3]."""
    crop = _at_side(np.ascontiguousarray(photo), stylizer.input_size[0])
    return _at_side(stylizer.run(crop), len(photo))


def _at_side(picture: np.ndarray, side: int) -> np.ndarray:
    import cv2

    if len(picture) == side:
        return picture
    how = cv2.INTER_AREA if side < len(picture) else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=how)
