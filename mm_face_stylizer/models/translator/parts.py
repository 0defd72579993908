"""The parts of a translator whose latencies add up to its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mm_face_stylizer.models.translator.config import TranslatorConfig

KINDS = ("stem", "down", "block", "attention", "up", "last")
_COLORS = 3
_STEM_KERNEL = 7


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a translator.

    Attributes:
      kind: One of `KINDS`.
      side: Side of its input in pixels.
      inputs: Channels of its input: a number, or a tensor during a search.
      outputs: Channels of its output, likewise; of a residual block, the channels between its
        convolutions.
      kernel: Side of its convolutions' kernels in pixels.
      gate: Name of the gate that decides whether the part is there; empty if there is none.
      stride: Of the stem, the stride of its convolution; 1 for all other kinds.
    """

    kind: str
    side: int
    inputs: Any
    outputs: Any
    kernel: int = 3
    gate: str = ""
    stride: int = 1


def parts_of(config: TranslatorConfig, widths: Mapping[str, Any] | None = None) -> list[Part]:
    """Lists the parts of a translator.

    Args:
      config: The configuration.
      widths: Channels of its layers, by the names of `TranslatorConfig.widths`; its own if None.

    Returns:
      The parts, in the order of the network.
    """
    widths = config.widths() if widths is None else widths
    stride, trunk = config.stride, widths["trunk"]
    side = config.image_size // stride
    small = side // 4
    return [
        Part("stem", config.image_size, _COLORS, widths["stem"], _STEM_KERNEL, stride=stride),
        Part("down", side, widths["stem"], widths["down0"]),
        Part("down", side // 2, widths["down0"], trunk),
        *(
            Part("block", small, trunk, widths[f"block{index}"], gate=f"gate{index}")
            for index in range(len(config.blocks))
        ),
        *([] if config.attention is None else [Part("attention", small, trunk, trunk, 1)]),
        Part("up", small, trunk, widths["up0"]),
        Part("up", side // 2, widths["up0"], widths["up1"]),
        Part("last", side, widths["up1"], _COLORS * stride * stride, config.last_kernel),
    ]


def macs_of(part: Part) -> Any:
    """Returns the multiply-accumulates of a part's convolutions."""
    # Convolutions of the part's kernel at its input's resolution that cost as much.
    convolutions = {"down": 0.25, "block": 2.0, "up": 4.0}.get(part.kind, 1.0)
    pixels = float(part.side * part.side * part.kernel * part.kernel) / part.stride**2
    return convolutions * pixels * part.inputs * part.outputs
