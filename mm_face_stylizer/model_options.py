"""Options of the face stylizer and its training losses."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mm_face_stylizer.errors import InvalidArgumentError


@dataclasses.dataclass
class PerceptualLossWeight:
    """Weights of the terms of the perceptual loss.

    Attributes:
      l1: weight of the mean absolute difference between the pixels of drawing and painting; at
        least 0.
      content: weight of the distance between their deep features; at least 0.
      style: weight of the distance between the Gram matrices of their shallow features; at least 0.

    Raises:
      ValueError: a weight is negative or not a finite number.
    """

    l1: float = 1.0
    content: float = 1.0
    style: float = 1.0

    def __post_init__(self) -> None:
        """Checks the weights."""
        for field in dataclasses.fields(self):
            _check_weight(field.name, getattr(self, field.name))


def _default_perceptual_loss_weight() -> PerceptualLossWeight:
    return PerceptualLossWeight(l1=0.5, content=4.0, style=1.0)


@dataclasses.dataclass
class FaceStylizerModelOptions:
    """Options of the stylizer and its losses, with the names, order and defaults of Model Maker.

    Attributes:
      swap_layers: unique indices of the latent's rows, counted from 0, that training mixes between
        the latent of the painted face and latents of other faces.
      alpha: weight of the painted face's own latent in the mixed rows, in [0, 1]; the other face's
        latent has the weight 1 - alpha. With a smaller alpha, what is drawn depends less on those
        rows.
      perception_loss_weight: weights of the perceptual loss; a `PerceptualLossWeight`, or any
        object with the attributes l1, content and style.
      adv_loss_weight: weight of the adversarial loss; at least 0.

    Raises:
      ValueError: a value has the wrong type or is out of range; the message names the attribute.
    """

    swap_layers: Sequence[int] = dataclasses.field(default_factory=lambda: [4, 5, 10, 11])
    alpha: float = 0.1
    perception_loss_weight: PerceptualLossWeight = dataclasses.field(
        default_factory=_default_perceptual_loss_weight
    )
    adv_loss_weight: float = 0.2

    def __post_init__(self) -> None:
        """Checks the values that do not depend on a model."""
        self._check_swap_layers()
        if not _is_finite_number(self.alpha) or not 0 <= self.alpha <= 1:
            raise InvalidArgumentError(f"alpha is {self.alpha!r}; it must be a number in [0, 1]")
        for name in ("l1", "content", "style"):
            if not hasattr(self.perception_loss_weight, name):
                raise InvalidArgumentError(
                    f"perception_loss_weight is {self.perception_loss_weight!r};"
                    " it must be a PerceptualLossWeight (l1, content, style)"
                )
            _check_weight(
                f"perception_loss_weight.{name}", getattr(self.perception_loss_weight, name)
            )
        _check_weight("adv_loss_weight", self.adv_loss_weight)

    def check_rows(self, rows: int) -> None:
        """Checks `swap_layers` against the number of rows of a model's latent.

        Args:
          rows: number of rows of the model's latent; 12 for the model of 256 x 256 pixels.

        Raises:
          ValueError: an index is not less than `rows`; the message lists all such indices.
        """
        outside = [layer for layer in self.swap_layers if layer >= rows]
        if outside:
            raise InvalidArgumentError(
                f"swap_layers is {list(self.swap_layers)!r}; the latent has rows 0 to {rows - 1},"
                f" but not {', '.join(map(str, outside))}"
            )

    def _check_swap_layers(self) -> None:
        layers = self.swap_layers
        error = InvalidArgumentError(
            f"swap_layers is {layers!r}; it must be a list of unique integers of at least 0"
        )
        if isinstance(layers, str | bytes) or not isinstance(layers, Sequence | np.ndarray):
            raise error
        for layer in layers:
            if isinstance(layer, bool) or not isinstance(layer, int | np.integer) or layer < 0:
                raise error
        if len(set(layers)) != len(layers):
            raise error


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return math.isfinite(value)


def _check_weight(name: str, value: float) -> None:
    if not _is_finite_number(value) or value < 0:
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a finite number of at least 0")
