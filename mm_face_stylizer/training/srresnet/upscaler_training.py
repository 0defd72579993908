"""Training of an upscaler: patches of pictures, a pixel loss, then a perceptual loss.

There is no discriminator: it invents detail, which in the small pictures of stylizers becomes
noise on lines. Sources: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a
Generative Adversarial Network" (2017), sections 2.2 and 3.2; Lim et al., "Enhanced Deep Residual
Networks for Single Image Super-Resolution" (2017), section 4.2; Johnson et al., "Perceptual Losses
for Real-Time Style Transfer and Super-Resolution" (2016).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import graph_function, keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.srresnet.config import UpscalerConfig
from mm_face_stylizer.models.srresnet.networks import UpscalerNetworks
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.run import TrainingRun, learning_rate, stage_at, update_average
from mm_face_stylizer.training.srresnet.patches import Patches

# Shallow activations describe edges and textures, which is what enlarging adds.
FEATURE_TAPS = ("stem", "expand1", "expand3")
PIXEL_LOSSES = ("l1", "mse")
_BATCH = 8
# Pictures of each folder on a sheet, and their side in pixels, which is that of sheets.
_SHEET_PICTURES, _SHEET_SIDE = 8, 192


@dataclasses.dataclass(frozen=True)
class UpscalerStage:
    """A stretch of the training.

    Attributes:
      steps: Number of steps.
      features: Weight of the distance of perceptual features.
      texture: Weight of the distance of their Gram matrices.
      pixels: Weight of the pixel loss.
      average: Decay per step of the exponential moving average of the weights. It starts lower and
        rises to this value during the first steps.
    """

    steps: int
    features: float = 0.0
    texture: float = 0.0
    pixels: float = 1.0
    average: float = 0.998


@dataclasses.dataclass(frozen=True)
class UpscalerOptions:
    """Hyperparameters of the training of an upscaler.

    Attributes:
      config: Configuration of the network.
      stages: The stages, usually one with pixels alone and one with perceptual features.
      pixel_loss: `l1`, mean absolute difference of pixels, or `mse`, mean squared difference.
      patch_side: Side in pixels of the small pictures that are enlarged in training.
      batch_size: Patches per step.
      learning_rate: Peak learning rate of Adam; see `run.learning_rate`.
      seed: Seed of the initial weights and of the batches.
      conv_dtype: Data type in which convolutions are computed.

    Raises:
      InvalidArgumentError: The pixel loss is unknown, or the network's stride does not divide the
        patches' side.
    """

    config: UpscalerConfig
    stages: tuple[UpscalerStage, ...]
    pixel_loss: str = "l1"
    patch_side: int = 64
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    conv_dtype: str = "float32"

    def __post_init__(self):
        """Checks the pixel loss and the side of the patches."""
        if self.pixel_loss not in PIXEL_LOSSES:
            raise InvalidArgumentError(
                f"the pixel loss is {self.pixel_loss!r}; it must be one of "
                f"{', '.join(PIXEL_LOSSES)}"
            )
        if self.patch_side % self.config.stride:
            raise InvalidArgumentError(
                f"the patches' side is {self.patch_side} px; this network needs a multiple of "
                f"{self.config.stride}"
            )

    @property
    def large_side(self) -> int:
        """Side in pixels of the patches of the large picture."""
        return self.config.scale * self.patch_side


class UpscalerTraining(TrainingRun):
    """A training run of an upscaler that can be resumed from its folder.

    Attributes:
      options: Hyperparameters of the run.
    """

    title = "Upscaler"

    def __init__(
        self,
        options: UpscalerOptions,
        patches: Patches,
        folder: str | os.PathLike,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ):
        """Builds the network, and restores the latest checkpoint in the folder, if any.

        Args:
          options: Hyperparameters of the run.
          patches: Patches of `options.large_side` pixels.
          folder: Folder for checkpoints, contact sheets and logs; created if it is missing.
          features: Maps pictures [batch, side, side, 3] in [-1, 1] to a list of feature maps, as
            the model of `perceptual_network` does; needed if a stage has perceptual terms.
          start: Weights of another upscaler, as `UpscalerNetworks.weights` returns them; those that
            fit are taken over.

        Raises:
          InvalidArgumentError: None of the weights of `start` fits.
        """
        super().__init__(folder, sum(stage.steps for stage in options.stages))
        self.options = options
        self._patches = patches
        self._features = features
        keras.utils.set_random_seed(options.seed)
        self._trained = UpscalerNetworks.build(options.config, options.conv_dtype)
        if start is not None and not self._trained.take_over(start):
            raise InvalidArgumentError(
                "the upscaler to start from shares no layer with the one to train; they must have "
                "the same channels"
            )
        self._average = UpscalerNetworks.build(options.config)
        self._average.take_over(self._trained.weights())
        self._variables = self._trained.network.trainable_variables
        self._optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.99)
        self._optimizer.build(self._variables)
        # A stage has a graph of its own: without perceptual terms the features are not computed.
        self._steps = [graph_function(self._step_of(stage)) for stage in options.stages]
        self._restore(
            network=self._trained.network,
            average=self._average.network,
            optimizer=self._optimizer,
        )

    def released(self) -> UpscalerNetworks:
        """Returns the network with the moving averages of the weights."""
        return self._average

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        index, step_of_stage = stage_at(options.stages, step)
        batch = self._patches.batch(options.batch_size, options.seed, step)
        rate = learning_rate(options.learning_rate, step, self.total_steps, step_of_stage)
        self._optimizer.learning_rate.assign(rate)
        values = self._steps[index](tf.constant(batch))
        update_average(
            self._average.network.weights,
            self._trained.network.weights,
            options.stages[index].average,
            step,
        )
        return values

    def _step_of(self, stage: UpscalerStage):
        """Returns the function that trains on a batch with the terms of a stage."""

        def train(batch):
            large = tf.cast(batch, tf.float32) / 127.5 - 1.0
            small = reduced(large, self.options.config.scale)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._variables)
                drawn = self._trained.network(small, training=True)
                values = self._terms(stage, drawn, large)
            gradients = tape.gradient(values["loss"], self._variables)
            self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
            return values

        return train

    def _terms(self, stage, drawn, large):
        """Computes the terms of the loss, and their weighted sum `loss`."""
        values = {"l1": losses.l1(drawn, large)}
        pixels = values["l1"]
        if self.options.pixel_loss == "mse":
            pixels = values["mse"] = tf.reduce_mean(tf.square(drawn - large))
        loss = stage.pixels * pixels
        if stage.features or stage.texture:
            ours, theirs = self._features(drawn), self._features(large)
            values["features"] = losses.feature_distance(ours, theirs)
            grams = [losses.gram_matrix(feature) for feature in theirs]
            values["texture"] = losses.gram_distance(ours, grams)
            loss += stage.features * values["features"] + stage.texture * values["texture"]
        return {"loss": loss} | values

    def _sheet(self, step: int) -> ContactSheet:
        rows, captions = [], []
        for folder in self._patches.folders:
            if not folder.held_out_names:
                continue
            large = folder.held_out(_SHEET_PICTURES, min(_SHEET_SIDE, folder.held_out_side))
            scale = self.options.config.scale
            rows += [large, bicubic(large, scale), enlarged(self._average, large)]
            captions += ["held out", f"bicubic, {scale} x", f"{step} steps"]
        return ContactSheet([list(row) for row in rows], captions)


def reduced(large: tf.Tensor, scale: int) -> tf.Tensor:
    """Reduces pictures to the small ones that are enlarged in training and in measurements.

    Args:
      large: float32 [batch, side, side, 3] in [-1, 1].
      scale: Factor on the side, which divides it.

    Returns:
      float32 [batch, side / scale, side / scale, 3] in [-1, 1], reduced by bicubic interpolation
      with antialiasing and rounded to levels of 8 bits, as in the literature.
    """
    side = large.shape[1] // scale
    small = tf.image.resize(large, (side, side), method="bicubic", antialias=True)
    levels = tf.round((tf.clip_by_value(small, -1.0, 1.0) + 1.0) * 127.5)
    return levels / 127.5 - 1.0


def bicubic(large: np.ndarray, scale: int) -> np.ndarray:
    """Reduces pictures and enlarges them by bicubic interpolation, to compare with.

    Args:
      large: uint8 [count, side, side, 3].
      scale: Factor on the side.

    Returns:
      uint8 of the same shape.
    """
    side = large.shape[1]

    def enlarge(small):
        return tf.image.resize(small, (side, side), method="bicubic")

    return _in_batches(large, scale, enlarge)


def enlarged(networks: UpscalerNetworks, large: np.ndarray) -> np.ndarray:
    """Reduces pictures and enlarges them by an upscaler.

    Args:
      networks: The upscaler.
      large: uint8 [count, side, side, 3].

    Returns:
      uint8 of the same shape.
    """
    return _in_batches(large, networks.config.scale, networks.network)


def _in_batches(large, scale, enlarge):
    pictures = []
    for start in range(0, len(large), _BATCH):
        small = reduced(from_pixels(large[start : start + _BATCH]), scale)
        pictures.append(to_pixels(enlarge(small).numpy()))
    return np.concatenate(pictures)
