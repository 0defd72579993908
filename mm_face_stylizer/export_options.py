"""Options of the export, which are checked before TensorFlow is imported."""

from __future__ import annotations

from mm_face_stylizer.errors import InvalidArgumentError

PRECISIONS = ("float32", "float16", "int8")


def check_precision(precision: str, strength: float = 1.0) -> None:
    """Checks export options, so that a mistake is found before the training and not after it.

    Args:
      precision: One of `PRECISIONS`.
      strength: Strength of the style in [0, 1].

    Raises:
      ValueError: `precision` is unknown, or `strength` is not in [0, 1].
    """
    if precision not in PRECISIONS:
        raise InvalidArgumentError(
            f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}"
        )
    check_strength(strength)


def check_strength(strength: float) -> None:
    """Checks the strength of a style.

    Args:
      strength: A number in [0, 1].

    Raises:
      ValueError: It is not in [0, 1].
    """
    if not 0.0 <= strength <= 1.0:
        raise InvalidArgumentError(f"strength is {strength!r}; it must be a number in [0, 1]")
