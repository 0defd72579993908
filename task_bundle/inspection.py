"""What is in a `.task` archive, entry by entry."""

from dataclasses import dataclass
from typing import Any

from task_bundle.archive import TaskArchive, models_of
from task_bundle.tflite.metadata import read_metadata
from task_bundle.tflite.model import ModelInfo, describe
from task_bundle.tflite.validation import check_models


@dataclass(frozen=True)
class EntryReport:
    """One entry of an archive.

    Attributes:
      name: its file name.
      size: bytes of its content.
      offset: where in the archive its bytes begin.
      alignment: the largest power of two that divides the offset; runtimes map models where they
        lie, which takes 4 at least.
      sha256: of the content.
      compressed: whether it is deflated, which MediaPipe refuses.
      model: what the model is made of; None if the entry is no model.
      metadata: the model's TFLite metadata, as the JSON that MediaPipe's displayer prints, parsed;
        None if it has none.
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
      archive: any `.task`; its models need not be a stylizer's.

    Returns:
      A report for each entry, in the archive's order.

    Raises:
      BundleError: an entry called `*.tflite` is no TFLite model, or a damaged one.
      MissingDependencyError: mediapipe, which knows the metadata, is not installed.
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
