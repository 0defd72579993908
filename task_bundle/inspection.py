"""Describes the entries of a `.task` archive."""

from dataclasses import dataclass
from typing import Any

from task_bundle.archive import TaskArchive, models_of
from task_bundle.tflite.metadata import read_metadata
from task_bundle.tflite.model import ModelInfo, describe
from task_bundle.tflite.validation import check_models


@dataclass(frozen=True)
class EntryReport:
    """Description of an entry of an archive.

    Attributes:
      name: the file name.
      size: the size of the content, in bytes.
      offset: position of the entry's first data byte in the archive.
      alignment: the largest power of two that divides the offset. Runtimes memory-map the models,
        which needs at least 4.
      sha256: the SHA-256 of the content, in hexadecimal.
      compressed: whether the content is deflated, which MediaPipe refuses.
      model: inputs, outputs, operators and weights; None if the entry is not a model.
      metadata: the model's TFLite metadata, as the parsed JSON of MediaPipe's displayer; None if
        there are none.
    """

    name: str
    size: int
    offset: int
    alignment: int
    sha256: str
    compressed: bool
    model: ModelInfo | None
    metadata: dict[str, Any] | None


def inspect_archive(archive: TaskArchive) -> tuple[EntryReport, ...]:
    """Describes the entries of an archive.

    Args:
      archive: any `.task`, not necessarily of a stylizer.

    Returns:
      A report for each entry, in the archive's order.

    Raises:
      BundleError: an entry called `*.tflite` is damaged or not a TFLite model.
      MissingDependencyError: mediapipe, which has the schema of the metadata, is not installed.
    """
    models = models_of(archive)
    check_models(models, archive.name)
    return tuple(
        EntryReport(
            name=entry.name,
            size=len(entry.data),
            offset=entry.offset,
            alignment=entry.alignment,
            sha256=entry.sha256,
            compressed=entry.compressed,
            model=describe(entry.data) if entry.name in models else None,
            metadata=read_metadata(entry.data) if entry.name in models else None,
        )
        for entry in archive.entries
    )
