"""Payloads: for each model the input that goes to a phone, and the output that must come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.litert import make_interpreter
from benchmarks.parity import PLAIN_KERNELS, difference
from benchmarks.report import Parity
from benchmarks.subject import LoadedSubject
from task_bundle.errors import BundleError
from task_bundle.tflite.metadata import normalization


# Compared by identity, because `==` of arrays is not a single truth value.
@dataclass(frozen=True, eq=False)
class Payload:
    """A model of a subject, with an input and the expected outputs.

    Attributes:
      subject: Name of the subject.
      stage: Stage of the model: 'detector', 'landmarks' or 'stylizer'.
      model: TFLite flatbuffer.
      input_shape: Shape of the input tensor, [1, height, width, 3].
      input_values: Bytes of the input tensor.
      expected: Output tensors, computed on this computer by TFLite's own kernels.
    """

    subject: str
    stage: str
    model: bytes
    input_shape: tuple[int, ...]
    input_values: bytes
    expected: tuple[npt.NDArray[np.generic], ...]

    def compare(self, output: bytes) -> Parity:
        """Compares the outputs of a phone with the expected ones.

        Args:
          output: Bytes of all output tensors, concatenated as the tool saves them.

        Returns:
          The comparison of the tensor that differs most. If the number of bytes is wrong, it is
          the greatest possible difference.
        """
        parts, offset = [], 0
        if len(output) != sum(array.nbytes for array in self.expected):
            output = b""
        for wanted in self.expected:
            found = np.frombuffer(output, wanted.dtype, wanted.size if output else 0, offset)
            offset += wanted.nbytes
            if found.size:
                found = found.reshape(wanted.shape)
            if self.stage == "stylizer":
                found, wanted = _gray_levels(found), _gray_levels(wanted)
            parts.append(difference(found, wanted, PLAIN_KERNELS, self.stage))
        return max(parts, key=lambda part: part.mean)


def payloads_of(subject: LoadedSubject, photo: npt.NDArray[np.uint8]) -> tuple[Payload, ...]:
    """Prepares the models of a subject.

    Each model runs once on this computer, so the models must be safe to load.

    Args:
      subject: A bundle or a model.
      photo: [height, width, 3] uint8 RGB; its center, resized, is the input of each model.

    Returns:
      A payload for each model.

    Raises:
      BundleError: LiteRT cannot run a model, or its input is not a single picture.
    """
    return tuple(
        _payload(subject.description.name, stage, model, photo)
        for stage, model in subject.models.items()
    )


def _payload(subject: str, stage: str, model: bytes, photo: npt.NDArray[np.uint8]) -> Payload:
    try:
        interpreter = make_interpreter(model, xnnpack=False)
        inputs = interpreter.get_input_details()
        shape = tuple(int(size) for size in inputs[0]["shape"])
        if len(inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
            raise BundleError(
                f"the {stage} of {subject} takes {[list(i['shape']) for i in inputs]}; only models"
                " that take one picture [1, height, width, 3] can be measured"
            )
        values = _normalized(_center(photo, shape[2], shape[1]), model, inputs[0]["dtype"])
        interpreter.set_tensor(inputs[0]["index"], values[None])
        interpreter.invoke()
        outputs = [interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()]
    except (RuntimeError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        reason = " ".join(str(error).split())
        raise BundleError(f"LiteRT cannot run the {stage} of {subject}: {reason}") from error
    return Payload(subject, stage, model, shape, values.tobytes(), tuple(outputs))


def _center(photo: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    fitted = ImageOps.fit(Image.fromarray(photo), (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted)


def _normalized(
    pixels: npt.NDArray[np.uint8], model: bytes, dtype: type[np.generic]
) -> npt.NDArray[np.generic]:
    if dtype is np.uint8:
        return pixels
    mean, std = normalization(model) or ([0.0], [255.0])
    values = (pixels - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.asarray(values, dtype)


def _gray_levels(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scales a stylizer's output to [0, 255] without clipping, so that NaN is not hidden."""
    return values * 255.0
