"""Files to measure, bundles or single models, and their descriptions for a report."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks import report
from task_bundle import TaskBundle, describe
from task_bundle.archive import FACE_DETECTOR, FACE_LANDMARKS_DETECTOR, FACE_STYLIZER
from task_bundle.errors import BundleError
from task_bundle.file_names import as_text
from task_bundle.tflite.schema import model_schema, unpack_model

STAGES = {
    FACE_DETECTOR: "detector",
    FACE_LANDMARKS_DETECTOR: "landmarks",
    FACE_STYLIZER: "stylizer",
}


@dataclass(frozen=True)
class LoadedSubject:
    """A loaded file.

    Attributes:
      description: Description for the report.
      content: Content of the file.
      bundle: The bundle; None if the file is a single model.
      models: TFLite flatbuffers by stage: 'detector', 'landmarks' and 'stylizer' for a bundle,
        'stylizer' for a single model.
    """

    description: report.Subject
    content: bytes
    bundle: TaskBundle | None
    models: dict[str, bytes]

    @classmethod
    def load(cls, path: str | os.PathLike[str], name: str | None = None) -> Self:
        """Reads a file.

        Args:
          path: A `.task` bundle of a face stylizer, or a `.tflite` model.
          name: Name for tables; the file name without its suffix if None.

        Returns:
          The subject.

        Raises:
          BundleError: the file is neither a bundle nor a model.
          OSError: the file cannot be read.
        """
        path = Path(path)
        try:
            return cls.of(path.read_bytes(), as_text(path.name), name or as_text(path.stem))
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error

    @classmethod
    def of(cls, content: bytes, file: str, name: str) -> Self:
        """Makes a subject from the content of a file.

        Args:
          content: A `.task` bundle, or a TFLite model.
          file: File name without folders.
          name: Name for tables.

        Returns:
          The subject.

        Raises:
          BundleError: the content is neither a bundle nor a model.
        """
        # The file identifier of TFLite models, which archives do not have.
        if content[4:8] == b"TFL3":
            bundle, models = None, {"stylizer": content}
        else:
            bundle = TaskBundle.open(content)
            models = {STAGES[entry]: model for entry, model in bundle.entries().items()}
        description = report.Subject(
            name=name,
            file=file,
            sha256=report.sha256(content),
            size_bytes=len(content),
            models=tuple(describe_model(stage, model) for stage, model in models.items()),
        )
        return cls(description, content, bundle, models)

    def is_quantized(self, stage: str) -> bool:
        """Returns whether a stage has integer weights; a stage of several models, its stylizer."""
        name = stage if stage in self.models else "stylizer"
        weights = next(m.weights for m in self.description.models if m.stage == name)
        return "int" in weights


def describe_model(stage: str, model: bytes) -> report.Model:
    """Describes a model for a report.

    Args:
      stage: Stage of the model.
      model: TFLite flatbuffer.

    Returns:
      The description.

    Raises:
      BundleError: the content is not a TFLite model, or is damaged.
    """
    info = describe(model)
    return report.Model(
        stage=stage,
        sha256=report.sha256(model),
        size_bytes=len(model),
        input_shape=info.inputs[0].shape if info.inputs else (),
        output_shape=info.outputs[0].shape if info.outputs else (),
        weights=weight_type(model),
        parameters=info.parameters,
        macs=info.macs,
        operators=info.ops,
    )


def weight_type(model: bytes) -> str:
    """Returns the most frequent type of a model's constants by bytes, such as 'float16'.

    Args:
      model: TFLite flatbuffer.

    Returns:
      Name of the type in lower case; 'none' for a model without constants.

    Raises:
      BundleError: the content is not a TFLite model, or is damaged.
    """
    unpacked = unpack_model(model)
    types = model_schema().TensorType
    names = {getattr(types, n): n.lower() for n in vars(types) if not n.startswith("_")}
    sizes: Counter[str] = Counter()
    for graph in unpacked.subgraphs:
        for tensor in graph.tensors or []:
            data = unpacked.buffers[tensor.buffer].data if tensor.buffer else None
            if data is not None:
                sizes[names.get(tensor.type, str(tensor.type))] += len(data)
    return sizes.most_common(1)[0][0] if sizes else "none"
