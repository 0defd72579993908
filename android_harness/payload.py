"""What goes to a phone for each model, and what must come back."""

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


# Compared by identity: arrays have no equality of their own.
@dataclass(frozen=True, eq=False)
class Payload:
    """A model of a subject.

    Attributes:
      subject: the subject's name.
      stage: what the model does.
      model: a TFLite flatbuffer.
      input_shape: of its input.
      input_values: the bytes of its input tensor.
      expected: its outputs for them, computed here by TFLite's own kernels.
    """

    subject: str
    stage: str
    model: bytes
    input_shape: tuple[int, ...]
    input_values: bytes
    expected: tuple[npt.NDArray[np.generic], ...]

    def compare(self, output: bytes) -> Parity:
        """Compares what a phone computed with what is expected.

        Args:
          output: the bytes of the output tensors, one after the other, as the tool saves them.

        Returns:
          The comparison of the tensor that differs most. Bytes that are too many or too few are
          as wrong as can be.
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
                found, wanted = _picture(found), _picture(wanted)
            parts.append(difference(found, wanted, PLAIN_KERNELS, self.stage))
        return max(parts, key=lambda part: part.mean)


def payloads_of(subject: LoadedSubject, photo: npt.NDArray[np.uint8]) -> tuple[Payload, ...]:
    """Prepares the models of a subject; each runs here once, so they must be safe to load.

    Args:
      subject: a bundle or a model.
      photo: [height, width, 3] uint8 RGB; each model gets its middle, as big as it takes it.

    Returns:
      A payload for each model.

    Raises:
      BundleError: LiteRT cannot run a model, or it does not take one picture.
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
                f"the {stage} of {subject} takes {[list(i['shape']) for i in inputs]}; one picture"
                " [1, height, width, 3] can be measured"
            )
        values = _normalized(_middle(photo, shape[2], shape[1]), model, inputs[0]["dtype"])
        interpreter.set_tensor(inputs[0]["index"], values[None])
        interpreter.invoke()
        outputs = [interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()]
    except (RuntimeError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        reason = " ".join(str(error).split())
        raise BundleError(f"LiteRT cannot run the {stage} of {subject}: {reason}") from error
    return Payload(subject, stage, model, shape, values.tobytes(), tuple(outputs))


def _middle(photo: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
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


def _picture(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Grey levels of a stylizer's output, as they are; what is no number stays none."""
    return values * 255.0
