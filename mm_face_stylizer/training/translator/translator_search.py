"""Search for the translator that draws best within a latency.

The largest network is trained first. Then the scores of its channels and blocks are trained by the
same losses and by the predicted latency, whose target falls from the largest network's own to the
one that was asked for. What is left is trained on, without the channels and blocks that are gone.

Source: Li et al., "Real-Time Portrait Stylization on the Edge" (2022), section 2.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.models.translator.supernet import LEAST_CHANNELS, Masks
from mm_face_stylizer.training import distribution
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.latency_predictor import LatencyPredictor
from mm_face_stylizer.training.translator.pairs import Pairs
from mm_face_stylizer.training.translator.translator_training import (
    Features,
    TranslatorOptions,
    TranslatorTraining,
)

SEARCHED = ("both", "width", "depth")
# The target falls during this share of the search, and stays where it is for the rest.
_FALLING = 0.8
# By how much all scores are lowered at a time while the network is still too slow at the end.
_LOWERING = 0.005


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What is searched, and when.

    Attributes:
      milliseconds: Latency asked for.
      first_step: Step at which the search begins; before it the largest network is trained.
      steps: Steps of the search; after it the found network is trained on.
      weight: Weight of the latency above the target, relative to the target.
      rate: Learning rate of the scores.
      searched: `width`, `depth` or `both`.

    Raises:
      InvalidArgumentError: A number is out of its range.
    """

    milliseconds: float
    first_step: int
    steps: int
    weight: float = 20.0
    rate: float = 0.01
    searched: str = "both"

    def __post_init__(self):
        """Checks the values."""
        if self.searched not in SEARCHED:
            raise InvalidArgumentError(
                f"searched is {self.searched!r}; it must be one of {', '.join(SEARCHED)}"
            )
        if self.steps < 1 or self.first_step < 0:
            raise InvalidArgumentError(
                f"the search has {self.steps} steps from step {self.first_step}; it needs at least "
                "one, from step 0 or later"
            )

    @property
    def last_step(self) -> int:
        """Step after the last of the search."""
        return self.first_step + self.steps


def lowest_latency(
    config: TranslatorConfig, predictor: LatencyPredictor, searched: str = "both"
) -> float:
    """Returns the predicted milliseconds of the fastest network of a search space.

    Args:
      config: The configuration of the largest network.
      predictor: Predicts latencies.
      searched: As in `SearchOptions`.
    """
    widths, gates = config.widths(), {}
    if searched != "depth":
        widths = {name: min(width, LEAST_CHANNELS) for name, width in widths.items()}
    if searched != "width":
        gates = {f"gate{index}": 0.0 for index in range(len(config.blocks))}
    return float(predictor.latency(config, widths, gates))


def check_target(
    config: TranslatorConfig,
    predictor: LatencyPredictor,
    milliseconds: float,
    searched: str = "both",
) -> None:
    """Checks that a latency can be reached, and that there is something to search.

    Raises:
      InvalidArgumentError: It cannot, or the largest network is as fast already.
    """
    lowest = lowest_latency(config, predictor, searched)
    if milliseconds < lowest:
        raise InvalidArgumentError(
            f"the latency asked for is {milliseconds:g} ms; the lowest that this search space has "
            f"is {lowest:.3g} ms on {predictor.device}, at {predictor.image_size} px"
        )
    highest = float(predictor.latency(config))
    if milliseconds >= highest:
        raise InvalidArgumentError(
            f"the latency asked for is {milliseconds:g} ms; the largest network takes no more than "
            f"{highest:.3g} ms on {predictor.device}: train it, or choose a larger one"
        )


class TranslatorSearch(TranslatorTraining):
    """A training run that searches for the network, and can be resumed from its folder.

    Attributes:
      search: What is searched, and when.
      predictor: Predicts latencies.
    """

    title = "Search"

    def __init__(
        self,
        options: TranslatorOptions,
        search: SearchOptions,
        predictor: LatencyPredictor,
        domains: Domains,
        folder: str | os.PathLike,
        features: Features | None = None,
        paintings: Pairs | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ):
        """Builds the networks, and restores the latest checkpoint in the folder, if any.

        Args:
          options: Hyperparameters of the run; `config` is the largest network.
          search: What is searched, and when.
          predictor: Predicts latencies.
          domains: See `TranslatorTraining`.
          folder: See `TranslatorTraining`.
          features: See `TranslatorTraining`.
          paintings: See `TranslatorTraining`.
          start: Weights of the largest network to start from; see `TranslatorTraining`.

        Raises:
          InvalidArgumentError: The latency cannot be reached, or the networks cannot be trained
            with what was given.
        """
        check_target(options.config, predictor, search.milliseconds, search.searched)
        self.search, self.predictor = search, predictor
        self._masks = Masks(options.config)
        self._highest = float(predictor.latency(options.config))
        self._target = tf.Variable(self._highest, trainable=False, dtype=tf.float32)
        self._scores_optimizer = keras.optimizers.Adam(search.rate, 0.9, 0.99)
        self._scores_optimizer.build(self._searched())
        # Of the step, while it is traced.
        self._now: dict[str, tf.Tensor] = {}
        super().__init__(options, domains, folder, features, paintings, start)

    def _tracked(self):
        return super()._tracked() | {
            "masks": self._masks,
            "scores_optimizer": self._scores_optimizer,
        }

    def _searched(self) -> Sequence[tf.Variable]:
        channels, gates = self._masks.channels.values(), self._masks.gates.values()
        wanted = {"width": (channels,), "depth": (gates,)}
        return [x for group in wanted.get(self.search.searched, (channels, gates)) for x in group]

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        search = self.search
        if step == search.first_step and search.searched != "depth":
            self._masks.rank(self._forward)
        if step == search.last_step:
            self._meet_target()
        is_searching = search.first_step <= step < search.last_step
        self._scores_optimizer.learning_rate.assign(search.rate if is_searching else 0.0)
        progress = np.clip((step - search.first_step) / (_FALLING * search.steps), 0.0, 1.0)
        self._target.assign(self._highest + progress * (search.milliseconds - self._highest))
        values = super()._train(step)
        if is_searching:
            self._masks.clip()
            if step == self.total_steps - 1:
                self._meet_target()
        return values

    def _meet_target(self) -> None:
        """Switches further channels and blocks off until the latency is what was asked for."""
        while self.milliseconds > self.search.milliseconds:
            for score in self._searched():
                score.assign(score - _LOWERING)

    @property
    def milliseconds(self) -> float:
        """The predicted latency of the network that is kept."""
        masks = self._masks
        gates = {f"gate{index}": 1.0 for index in masks.kept_blocks()}
        zeros = dict.fromkeys(masks.gates, 0.0)
        return float(self.predictor.latency(masks.config, masks.widths(), zeros | gates))

    def _translation(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]:
        masks = self._now = self._masks.values()
        return lambda picture: self._forward.network.translate(picture, masks)

    def _apply_searched(self, gradients: Sequence[tf.Tensor]) -> None:
        distribution.apply_gradients(self._scores_optimizer, gradients, self._searched())

    def _further_terms(self) -> dict[str, tf.Tensor]:
        widths = {name: tf.reduce_sum(self._now[name]) for name in self._masks.channels}
        latency = self.predictor.latency(self.options.config, widths, self._now)
        return {
            "latency": self.search.weight * tf.nn.relu(latency / self._target - 1.0),
        }

    def released(self) -> TranslatorNetworks:
        """Returns the found generator to the style, with the moving averages of the weights."""
        weights = self._masks.sliced(self._average.weights())
        return TranslatorNetworks.from_weights(self._masks.found(), weights)
