"""The `.task` bundle of a face stylizer."""

import os
from dataclasses import dataclass
from typing import Self

from task_bundle import schema
from task_bundle.archive import (
    FACE_DETECTOR,
    FACE_LANDMARKS_DETECTOR,
    FACE_STYLIZER,
    read_archive,
    read_bytes,
    write_archive,
)
from task_bundle.errors import BundleError
from task_bundle.face_models import FaceModels, find_face_models
from task_bundle.files import atomic_write
from task_bundle.metadata import stylizer_metadata
from task_bundle.model import check_stylizer


@dataclass(frozen=True)
class TaskBundle:
    """The three models that MediaPipe's FaceStylizer looks for, as TFLite flatbuffers.

    Attributes:
      detector: finds the face.
      landmarks: finds 478 points in it.
      stylizer: turns the aligned crop, RGB in [0, 1], into the stylized one.
    """

    detector: bytes
    landmarks: bytes
    stylizer: bytes

    @classmethod
    def build(cls, stylizer: bytes, face_models: FaceModels | None = None) -> Self:
        """Makes a bundle of a freshly converted stylizer.

        Args:
          stylizer: a TFLite flatbuffer, float32 [1, side, side, 3] to the same with any side, both
            in [0, 1]. It need not have metadata.
          face_models: the face detector and landmark models; `find_face_models()` if None.

        Returns:
          The bundle, its stylizer carrying metadata.

        Raises:
          BundleError: the stylizer cannot be packed (see `check_stylizer`).
          FaceModelsError: no face models were found.
        """
        check_stylizer(stylizer)
        if face_models is None:
            face_models = find_face_models()
        return cls(face_models.detector, face_models.landmarks, stylizer_metadata(stylizer))

    @classmethod
    def open(cls, source: str | os.PathLike[str] | bytes) -> Self:
        """Reads a bundle.

        Google's own bundles open too: what their stylizer is made of is not checked.

        Args:
          source: a path, or the bundle's content.

        Returns:
          The bundle.

        Raises:
          FileNotFoundError: no such file.
          BundleError: not an archive of exactly the three models, stored without compression, or
            one of them is no TFLite model.
        """
        data, name = read_bytes(source)
        entries = read_archive(data, name, stored_only=True)
        wanted = (FACE_DETECTOR, FACE_LANDMARKS_DETECTOR, FACE_STYLIZER)
        missing = [n for n in wanted if n not in entries]
        if missing:
            raise BundleError(f"{name} lacks {', '.join(missing)}")
        extra = [n for n in entries if n not in wanted]
        if extra:
            raise BundleError(f"{name} has entries that do not belong there: {', '.join(extra)}")
        for entry, model in entries.items():
            if model[4:8] != schema.MODEL_IDENTIFIER:
                raise BundleError(f"{entry} in {name} is not a TFLite model")
        return cls(*(entries[n] for n in wanted))

    def entries(self) -> dict[str, bytes]:
        """Returns the archive's file names and contents, in the archive's order."""
        return {
            FACE_DETECTOR: self.detector,
            FACE_LANDMARKS_DETECTOR: self.landmarks,
            FACE_STYLIZER: self.stylizer,
        }

    def to_bytes(self) -> bytes:
        """Returns the archive; the same models always give the same bytes."""
        return write_archive(self.entries())

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes the archive, whole or not at all.

        Args:
          path: the file, customarily named `*.task`. Its folder must exist.
          overwrite: whether a file already there may be replaced.

        Raises:
          FileExistsError: the file exists and `overwrite` is false.
          OSError: the file cannot be written.
        """
        atomic_write(path, self.to_bytes(), overwrite)
