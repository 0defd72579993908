"""The file of a stylizer whose training can go on: weights, moments, paintings and options."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import zipfile
from typing import Any, Final, Self

import numpy as np

from mm_face_stylizer.errors import DataError
from task_bundle.faces.face_models import FaceModels
from task_bundle.files import atomic_write

_FORMAT: Final = "mm-face-stylizer training"
_VERSION: Final = 1
_CARD: Final = "card"
_DETECTOR, _LANDMARKS = "detector", "landmarks"


@dataclasses.dataclass(frozen=True)
class SavedTraining:
    """What `FaceStylizer.save` writes, and `FaceStylizer.load` reads.

    Attributes:
      card: Names and numbers that JSON can express.
      arrays: Arrays by name.
      face_models: The face models of the stylizer's bundles.
    """

    card: dict[str, Any]
    arrays: dict[str, np.ndarray]
    face_models: FaceModels

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes the file, atomically.

        Args:
          path: The file; an archive of NumPy, whatever its name.
          overwrite: Whether to replace an existing file.

        Raises:
          FileExistsError: The file exists, and `overwrite` is False.
          OSError: The file cannot be written.
        """
        card = {"format": _FORMAT, "version": _VERSION} | self.card
        buffer = io.BytesIO()
        np.savez(
            buffer,
            **{_CARD: _as_array(json.dumps(card).encode())},
            **{_DETECTOR: _as_array(self.face_models.detector)},
            **{_LANDMARKS: _as_array(self.face_models.landmarks)},
            **self.arrays,
        )
        atomic_write(path, buffer.getvalue(), overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file.

        Args:
          path: The file.

        Raises:
          DataError: The file is none that `save` wrote, or is damaged.
          OSError: The file cannot be read.
        """
        content = pathlib.Path(path).read_bytes()
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = dict(archive)
            card = json.loads(arrays.pop(_CARD).tobytes())
            models = [arrays.pop(name).tobytes() for name in (_DETECTOR, _LANDMARKS)]
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise DataError(
                f"{path} is no saved training, as FaceStylizer.save and `create --save` write: "
                f"{reason}"
            ) from error
        if card.get("format") != _FORMAT or card.get("version") != _VERSION:
            raise DataError(
                f"{path} is {card.get('format')!r} of version {card.get('version')!r}; this "
                f"program reads {_FORMAT!r} of version {_VERSION}"
            )
        return cls(card, arrays, FaceModels(*models, str(path)))


def _as_array(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)
