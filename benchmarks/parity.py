"""Whether a result is the right one: no latency counts without it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.report import Parity

Unit = Literal["grey levels", "pixels", "relative"]

PLAIN_KERNELS = "TFLite's own kernels"
FLOAT32 = "float32"
STORED = "stored picture"

# Greatest mean difference, of float weights and of quantized ones. Other kernels sum in another
# order; quantized ones round in other places too, at every layer: of them, no more can be asked
# than that the picture is the same to the eye. A wrong picture (black, noise, another face, red for
# blue) is tens of levels away.
_LIMITS: dict[Unit, tuple[float, float]] = {"grey levels": (1.5, 6.0), "pixels": (0.5, 2.0)}
_UNITS: dict[str, Unit] = {"detector": "pixels", "landmarks": "pixels", "face_finding": "pixels"}


def difference(
    result: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    against: str,
    stage: str,
    quantized: bool = False,
) -> Parity:
    """Compares a result with what it should be.

    Args:
      result: pictures as uint8, or numbers.
      reference: the same kind of array.
      against: what the reference is: `PLAIN_KERNELS`, `FLOAT32` or `STORED`.
      stage: what was run; it says what the numbers mean.
      quantized: whether the model computes with integers.

    Returns:
      The comparison. Results of another shape, or with values that are not finite, are as wrong as
      a picture can be.
    """
    unit = _UNITS.get(stage, "grey levels")
    limit = _LIMITS[unit][quantized]
    if result.shape != reference.shape or not np.isfinite(result).all():
        return Parity(against, unit, mean=255.0, maximum=255.0, limit=limit, passed=False)
    distance = np.abs(result.astype(np.float64) - reference)
    mean, maximum = round(float(distance.mean()), 4), round(float(distance.max()), 4)
    return Parity(against, unit, mean, maximum, limit, passed=mean <= limit)
