"""The `.task` bundle of a face stylizer."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from task_bundle.archive import (
    FACE_DETECTOR,
    FACE_LANDMARKS_DETECTOR,
    FACE_STYLIZER,
    TaskArchive,
    write_archive,
)
from task_bundle.errors import BundleError
from task_bundle.faces.face_models import FaceModels, adapt_landmarks, find_face_models
from task_bundle.files import atomic_write
from task_bundle.inspection import EntryReport, inspect_archive
from task_bundle.provenance import Provenance, read_provenance, write_provenance
from task_bundle.tflite.metadata import normalization, stylizer_metadata
from task_bundle.tflite.model import check_stylizer
from task_bundle.tflite.validation import check_loads, check_model, check_models

_ENTRIES = (FACE_DETECTOR, FACE_LANDMARKS_DETECTOR, FACE_STYLIZER)


@dataclass(frozen=True)
class TaskBundle:
    """The three TFLite models of a face stylizer, in the form that MediaPipe's FaceStylizer opens.

    ```python
    from task_bundle import TaskBundle

    bundle = TaskBundle.open("ink.task")
    bundle.validate()
    for entry in bundle.inspect():
        print(entry.name, entry.size, entry.sha256)
    ```

    Attributes:
      detector: the face detector, a TFLite flatbuffer.
      landmarks: the landmark model, which finds 478 points in a face.
      stylizer: the stylizer network, from an aligned face in RGB, [0, 1], to the stylized face.
    """

    detector: bytes
    landmarks: bytes
    stylizer: bytes

    def __repr__(self) -> str:
        """Names the sizes of the models, not their bytes."""
        sizes = ", ".join(f"{n} {len(data):,} bytes" for n, data in self.entries().items())
        return f"<TaskBundle: {sizes}>"

    @classmethod
    def build(
        cls,
        stylizer: bytes,
        face_models: FaceModels | None = None,
        description: str | None = None,
    ) -> Self:
        """Makes a bundle from a freshly converted stylizer.

        ```python
        import pathlib

        from task_bundle import TaskBundle

        bundle = TaskBundle.build(pathlib.Path("stylizer.tflite").read_bytes())
        bundle.save("ink.task")
        ```

        Args:
          stylizer: a TFLite flatbuffer with one input and one output, both float32
            [1, height, width, 3] RGB in [0, 1]. The output may have another size than the input,
            but has the same aspect ratio. Metadata are not needed.
          face_models: the face detector and landmark models; `find_face_models()` if None.
          description: what the stylizer is for, in its metadata; MediaPipe's own text if None.

        Returns:
          The bundle. Its stylizer has the metadata that MediaPipe asks for.

        Raises:
          BundleError: the stylizer cannot be packed (see `check_stylizer` and `check_model`).
          FaceModelsError: no face models were found.
        """
        check_stylizer(stylizer)
        check_model(stylizer, "the stylizer")
        if face_models is None:
            face_models = find_face_models()
        return cls(
            face_models.detector, face_models.landmarks, stylizer_metadata(stylizer, description)
        )

    @classmethod
    def open(cls, source: str | os.PathLike[str] | bytes) -> Self:
        """Reads a bundle.

        The flatbuffers of its models are checked, but no model is loaded or run; `validate` does
        that. Bundles of Google's Model Maker open, too.

        ```python
        import pathlib

        from task_bundle import TaskBundle

        bundle = TaskBundle.open("ink.task")
        pathlib.Path("stylizer.tflite").write_bytes(bundle.stylizer)
        ```

        Args:
          source: the path of the bundle, or its content.

        Returns:
          The bundle.

        Raises:
          FileNotFoundError: the file does not exist.
          BundleError: the file is not an archive of exactly the three models, an entry is
            compressed, or a model is damaged or not a TFLite model.
          OSError: the file cannot be read.
        """
        return cls.from_archive(TaskArchive.open(source))

    @classmethod
    def from_archive(cls, archive: TaskArchive) -> Self:
        """Takes the models out of an archive.

        Args:
          archive: the archive.

        Returns:
          The bundle.

        Raises:
          BundleError: as for `open`.
        """
        for entry in archive.entries:
            if entry.compressed:
                raise BundleError(
                    f"{archive.name}: {entry.name} is compressed; entries must be stored as they"
                    " are"
                )
        return cls._of(archive.contents(), archive.name)

    @classmethod
    def _of(cls, entries: Mapping[str, bytes], name: str) -> Self:
        missing = [n for n in _ENTRIES if n not in entries]
        if missing:
            raise BundleError(f"{name} lacks {', '.join(missing)}")
        extra = [n for n in entries if n not in _ENTRIES]
        if extra:
            raise BundleError(f"{name} has entries that do not belong there: {', '.join(extra)}")
        check_models(entries, name)
        return cls(*(entries[n] for n in _ENTRIES))

    def entries(self) -> dict[str, bytes]:
        """Returns the models by file name, in the archive's order."""
        return {
            FACE_DETECTOR: self.detector,
            FACE_LANDMARKS_DETECTOR: self.landmarks,
            FACE_STYLIZER: self.stylizer,
        }

    @property
    def provenance(self) -> Provenance | None:
        """How the bundle was made; None if it does not say.

        Raises:
          BundleError: the record is damaged.
        """
        return read_provenance(self.stylizer, FACE_STYLIZER)

    def with_provenance(self, provenance: Provenance) -> Self:
        """Returns a copy of the bundle that says how it was made; runtimes pass over it."""
        return replace(self, stylizer=write_provenance(self.stylizer, provenance))

    def to_bytes(self) -> bytes:
        """Returns the bundle's bytes, which depend on nothing but the models."""
        return write_archive(self.entries())

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes the bundle atomically.

        Args:
          path: the file, customarily named `*.task`. Its folder must exist.
          overwrite: whether an existing file may be replaced.

        Raises:
          FileExistsError: the file exists and `overwrite` is false.
          OSError: the file cannot be written.
        """
        atomic_write(path, self.to_bytes(), overwrite)

    def inspect(self) -> tuple[EntryReport, ...]:
        """Describes the entries, in the archive's order, as `to_bytes` lays them out."""
        return inspect_archive(TaskArchive.open(self.to_bytes()))

    def replace(self, entry: str, model: bytes) -> Self:
        """Returns a copy of the bundle in which one model is another.

        Args:
          entry: 'face_detector.tflite', 'face_landmarks_detector.tflite' or 'face_stylizer.tflite'.
          model: a TFLite flatbuffer. It is not changed, so a stylizer needs its metadata already.

        Returns:
          The new bundle.

        Raises:
          BundleError: there is no such entry, or the model is damaged or not a TFLite model.
        """
        return self._of({**self.entries(), entry: model}, "the bundle")

    def extract(self, folder: str | os.PathLike[str], overwrite: bool = False) -> list[Path]:
        """Writes the models into a folder, as `TaskArchive.extract` does."""
        return TaskArchive.open(self.to_bytes()).extract(folder, overwrite)

    def validate(
        self, name: str = "the bundle", cpu_seconds: float | None = None
    ) -> tuple[str, ...]:
        """Checks that the bundle is safe to load and that MediaPipe's FaceStylizer can use it.

        The models are loaded and run in another process, which takes a third of a second the first
        time that a model is seen (see `task_bundle.tflite.validation`).

        ```python
        from task_bundle import TaskBundle

        for note in TaskBundle.open("ink.task").validate("ink.task"):
            print("note:", note)
        ```

        Args:
          name: how error messages call the bundle.
          cpu_seconds: the CPU time that loading and running all models once may take; if None,
            $MM_FACE_STYLIZER_CHECK_SECONDS, or 1.5 s. A heavy model on a slow machine needs more.
            Once it has passed, this process accepts it without another check, and so do others
            with the same cache folder.

        Returns:
          Notes about what is not an error but worth knowing, a sentence each.

        Raises:
          BundleError: a model crashes, hangs, or is refused by LiteRT; the landmark model has other
            outputs than the runtime needs; the stylizer's input and output are not images, or its
            metadata lack the normalization.
          OSError: the other process cannot be started.
        """
        check_loads(self.entries(), name, cpu_seconds)
        if (
            adapt_landmarks(self.landmarks, f"{FACE_LANDMARKS_DETECTOR} in {name}")
            != self.landmarks
        ):
            raise BundleError(
                f"{FACE_LANDMARKS_DETECTOR} in {name} finds 468 points; MediaPipe's FaceStylizer"
                " wants 478 (task-bundle build adapts it)"
            )
        scale = normalization(self.stylizer)
        if scale is None:
            raise BundleError(
                f"{FACE_STYLIZER} in {name} has no normalization in its metadata, which MediaPipe"
                " asks for; task-bundle build adds it"
            )
        try:
            check_stylizer(self.stylizer)
        except BundleError as error:
            return (f"only MediaPipe's own FaceStylizer runs it: {error}",)
        return ()
