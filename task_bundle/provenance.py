"""How a bundle was made: a record in its stylizer that the runtimes pass over."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from typing import Any, Final, Self

import numpy as np

from task_bundle.errors import BundleError
from task_bundle.tflite import schema

# TFLite models have named metadata, of which MediaPipe reads only its own.
_ENTRY: Final = "MM_FACE_STYLIZER"
_FORMAT: Final = "mm-face-stylizer provenance"
_MAX_BYTES: Final = 256 * 2**10
_MAX_TEXT: Final = 200
_MAX_STYLES: Final = 100
_JPEG: Final = b"\xff\xd8\xff"


@dataclasses.dataclass(frozen=True)
class Provenance:
    """How a bundle was made. Nothing in it depends on the time or the machine.

    Attributes:
      version: of the program that made it.
      preset: name of the preset that was tuned.
      styles: names of the style pictures.
      steps: number of training steps.
      seed: of everything that was random.
      likeness: of the paintings that it learned from, in [0, 1].
      colors: 'style' or 'photo'.
      strength: of the style, in [0, 1].
      precision: of the weights.
      thumbnail: what it makes of a generated face, a JPEG; empty if there is none.
    """

    version: str
    preset: str
    styles: tuple[str, ...]
    steps: int
    seed: int
    likeness: float
    colors: str
    strength: float
    precision: str
    thumbnail: bytes = dataclasses.field(default=b"", repr=False)

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON, with the thumbnail as a `data:` URL or None."""
        values = dataclasses.asdict(self) | {"styles": list(self.styles), "thumbnail": None}
        if self.thumbnail:
            encoded = base64.b64encode(self.thumbnail).decode()
            values["thumbnail"] = f"data:image/jpeg;base64,{encoded}"
        return values

    @classmethod
    def _from_json(cls, values: Any) -> Self:
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
            raise ValueError(f"it is no {_FORMAT}")
        url = values.get("thumbnail")
        thumbnail = b""
        if url is not None:
            thumbnail = base64.b64decode(str(url).partition("base64,")[2], validate=True)
            if not thumbnail.startswith(_JPEG):
                raise ValueError("its thumbnail is not a JPEG")
        styles = values.get("styles")
        if not isinstance(styles, list) or len(styles) > _MAX_STYLES:
            raise ValueError(f"styles is no list of at most {_MAX_STYLES} names")
        return cls(
            version=_text(values, "version"),
            preset=_text(values, "preset"),
            styles=tuple(_checked_text("styles", style) for style in styles),
            steps=_whole(values, "steps"),
            seed=_whole(values, "seed"),
            likeness=_number(values, "likeness"),
            colors=_text(values, "colors"),
            strength=_number(values, "strength"),
            precision=_text(values, "precision"),
            thumbnail=thumbnail,
        )


def write_provenance(model: bytes, provenance: Provenance) -> bytes:
    """Adds the record to a stylizer, in place of an earlier one.

    Args:
      model: a TFLite flatbuffer.
      provenance: the record. Texts are cut to 200 characters.

    Returns:
      The flatbuffer with the record. The same arguments always give the same bytes.

    Raises:
      BundleError: the model is not a TFLite model.
    """
    values = {"format": _FORMAT} | provenance.to_json()
    values["styles"] = [style[:_MAX_TEXT] for style in provenance.styles[:_MAX_STYLES]]
    values["preset"] = provenance.preset[-_MAX_TEXT:]
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    unpacked = schema.unpack_model(model)
    tfl = schema.model_schema()
    buffer = tfl.BufferT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    for entry in unpacked.metadata or []:
        if schema.text(entry.name) == _ENTRY and entry.buffer < len(unpacked.buffers):
            unpacked.buffers[entry.buffer] = buffer
            return schema.pack_model(unpacked)
    unpacked.buffers.append(buffer)
    entry = tfl.MetadataT()
    entry.name = _ENTRY
    entry.buffer = len(unpacked.buffers) - 1
    unpacked.metadata = [*(unpacked.metadata or []), entry]
    return schema.pack_model(unpacked)


def read_provenance(model: bytes, name: str = "the model") -> Provenance | None:
    """Reads the record of a stylizer.

    Args:
      model: a TFLite flatbuffer.
      name: how error messages call it.

    Returns:
      The record, or None: other programs write none.

    Raises:
      BundleError: the model is not a TFLite model, or the record is damaged.
    """
    root = schema.read_model(model, name)
    entries = (root.Metadata(i) for i in range(root.MetadataLength()))
    entry = next((e for e in entries if schema.text(e.Name()) == _ENTRY), None)
    if entry is None:
        return None
    if entry.Buffer() >= root.BuffersLength():
        raise BundleError(f"{name}'s record of how it was made is damaged: no such buffer")
    buffer = root.Buffers(entry.Buffer())
    data = b"" if buffer.DataIsNone() else buffer.DataAsNumpy().tobytes()
    if len(data) > _MAX_BYTES:
        raise BundleError(f"{name}'s record of how it was made has {len(data)} bytes")
    try:
        return Provenance._from_json(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{name}'s record of how it was made is damaged: {error}") from error


def _text(values: dict[str, Any], name: str) -> str:
    return _checked_text(name, values.get(name))


def _checked_text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError(f"{name} is no text of at most {_MAX_TEXT} characters")
    return value


def _whole(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is no whole number of at least 0")
    return value


def _number(values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} is no finite number")
    return float(value)
