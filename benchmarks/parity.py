"""Compares results with references. The latency of a wrong result does not count."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.report import Parity

Unit = Literal["grey levels", "pixels", "relative"]

PLAIN_KERNELS = "TFLite's own kernels"
FLOAT32 = "float32"
STORED = "stored picture"

# Greatest mean difference that passes, for float and for quantized weights. Kernels sum in
# different orders, and quantized kernels also round in different places at every layer, so that
# their pictures can only be required to look the same. A wrong picture (black, noise, another face,
# red and blue swapped) differs by tens of gray levels.
_LIMITS: dict[Unit, tuple[float, float]] = {"grey levels": (1.5, 6.0), "pixels": (0.5, 2.0)}
_UNITS: dict[str, Unit] = {"detector": "pixels", "landmarks": "pixels", "face_finding": "pixels"}


def difference(
    result: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    against: str,
    stage: str,
    quantized: bool = False,
) -> Parity:
    """Compares a result with a reference.

    Args:
      result: Pictures as uint8, or other results as floats.
      reference: An array of the same kind.
      against: What the reference is: `PLAIN_KERNELS`, `FLOAT32` or `STORED`.
      stage: The stage that was run, which determines the unit of the difference.
      quantized: Whether the model computes with integers.

    Returns:
      The comparison. A result of another shape, or with values that are not finite, differs by
      255, the greatest difference of pictures.
    """
    unit = _UNITS.get(stage, "grey levels")
    limit = _LIMITS[unit][quantized]
    if result.shape != reference.shape or not np.isfinite(result).all():
        return Parity(against, unit, mean=255.0, maximum=255.0, limit=limit, passed=False)
    distance = np.abs(result.astype(np.float64) - reference)
    mean, maximum = round(float(distance.mean()), 4), round(float(distance.max()), 4)
    return Parity(against, unit, mean, maximum, limit, passed=mean <= limit)
