"""Training of a translator: from paintings or a teacher, and from two folders without pairs.

Sources: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks" (2017), sections 3, 4 and 7.1; Kim et al., "U-GAT-IT" (2020), section 3.2, for the
class-activation loss; Johnson et al., "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (2016), for the perceptual identity; Futschik et al., "Real-Time Patch-Based
Stylization of Portraits Using Generative Adversarial Network" (2019), for learning from paintings.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.discriminator import PatchDiscriminator
from mm_face_stylizer.models.translator.network import Translator
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.models.weights import named_weights
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.training import distribution, losses
from mm_face_stylizer.training.run import (
    TrainingRun,
    forget_moments,
    stage_at,
    update_average,
)
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.pairs import Pairs
from mm_face_stylizer.training.translator.picture_pool import PicturePool

IDENTITIES = ("perceptual", "l1")
_AVERAGE = 0.995
# Weight of the features of a face beside the whole picture in the distance to paintings.
_FACE_WEIGHT = 8.0
# Features are compared in a square of this side, at a random place: at 256 px, that of the whole
# picture would take most of a step's time.
_FEATURE_SIDE = 128
_SHEET_PICTURES = 8
_BETAS = (0.5, 0.999)

Features = Callable[[tf.Tensor], Sequence[tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class TranslatorStage:
    """A stretch of the training, with the weights of its losses; what weighs 0 is not computed.

    Attributes:
      steps: Number of steps.
      batch_size: Pictures of each domain in a step.
      rate: Factor on the learning rate.
      paintings: Weight of the distance to paintings: pixels, features and Gram matrices.
      backward: Whether the generator from the style to photos learns from paintings, too.
      adversarial: Weight of the least-squares adversarial losses.
      cycle: Weight of the mean absolute difference of pictures that were translated there and back.
      identity: Weight of what a generator changes on pictures of its own target domain.
      activation: Weight of the class-activation loss; ignored without attention.
    """

    steps: int
    batch_size: int = 1
    rate: float = 1.0
    paintings: float = 0.0
    backward: bool = False
    adversarial: float = 1.0
    cycle: float = 10.0
    identity: float = 10.0
    activation: float = 1000.0

    @property
    def is_unpaired(self) -> bool:
        """Whether both generators learn from pictures without pairs."""
        return bool(self.cycle or self.identity)

    @classmethod
    def from_paintings(
        cls, steps: int, batch_size: int, rate: float, backward: bool, adversarial: float = 0.0
    ) -> TranslatorStage:
        """Returns a stage that learns from paintings alone, but for the adversarial loss."""
        return cls(steps, batch_size, rate, 10.0, backward, adversarial, 0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class TranslatorOptions:
    """Hyperparameters of the training of a translator.

    Attributes:
      config: Configuration of both generators.
      stages: The stages, for example one from paintings and an unpaired one.
      identity_loss: `perceptual`, the distance of features, or `l1`, that of pixels.
      pool_size: Earlier results that each discriminator sees again; 0 for none.
      discriminator_width: Channels of the discriminators' first layer.
      learning_rate: Of Adam; constant in the first half of the run, then falling to 0.
      seed: Seed of the initial weights and of the batches.
      conv_dtype: Data type in which convolutions are computed.

    Raises:
      InvalidArgumentError: The identity loss is unknown, or there is no stage.
    """

    config: TranslatorConfig
    stages: tuple[TranslatorStage, ...]
    identity_loss: str = "perceptual"
    pool_size: int = 50
    discriminator_width: int = 64
    learning_rate: float = 2e-4
    seed: int = 0
    conv_dtype: str = "float32"

    def __post_init__(self):
        """Checks the identity loss and the stages."""
        if self.identity_loss not in IDENTITIES:
            raise InvalidArgumentError(
                f"the identity loss is {self.identity_loss!r}; it must be one of "
                f"{', '.join(IDENTITIES)}"
            )
        if not self.stages:
            raise InvalidArgumentError("there is no stage; a training needs one")

    @property
    def batch_size(self) -> int:
        """Pictures of each domain in a step of the last stage."""
        return self.stages[-1].batch_size


class TranslatorTraining(TrainingRun):
    """A training run of a translator that can be resumed from its folder.

    Attributes:
      options: Hyperparameters of the run.
      paintings: Paintings or a teacher's pictures of the photos; None if there are none.
    """

    title = "Translator"

    def __init__(
        self,
        options: TranslatorOptions,
        domains: Domains,
        folder: str | os.PathLike,
        features: Features | None = None,
        paintings: Pairs | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ):
        """Builds the networks, and restores the latest checkpoint in the folder, if any.

        Args:
          options: Hyperparameters of the run.
          domains: Pictures of `options.config.image_size` pixels.
          folder: Folder for checkpoints, contact sheets and logs; created if it is missing.
          features: Maps pictures [batch, side, side, 3] in [-1, 1] to a list of feature maps, as
            the model of `perceptual_network` does; needed for the perceptual identity loss, and
            without it paintings are compared by their pixels.
          paintings: Paintings or a teacher's pictures of the photos; needed if a stage has them.
          start: Weights of a translator of the same configuration, as `TranslatorNetworks.weights`
            returns them, for the generator to the style.

        Raises:
          InvalidArgumentError: The networks cannot be trained with what was given.
        """
        super().__init__(folder, sum(stage.steps for stage in options.stages))
        self.options = options
        self._domains = domains
        self._features = features
        self.paintings = paintings
        if features is None and options.identity_loss == "perceptual":
            raise InvalidArgumentError("the perceptual identity loss needs a feature network")
        if paintings is None and any(stage.paintings for stage in options.stages):
            raise InvalidArgumentError("a stage learns from paintings, but there are none")
        for stage in options.stages:
            self.distribution.share(stage.batch_size)
        keras.utils.set_random_seed(options.seed)
        self._forward = TranslatorNetworks.build(options.config, options.conv_dtype)
        if start is not None:
            _fill(self._forward, start)
        self._backward = Translator(options.config, options.conv_dtype, name="backward")
        self._average = TranslatorNetworks.build(options.config)
        _fill(self._average, self._forward.weights())
        has_attention = options.config.attention is not None
        # One judges photos, the other pictures of the style.
        self._judges = [
            PatchDiscriminator(
                options.discriminator_width, has_attention, options.conv_dtype, name=f"judge_{name}"
            )
            for name in ("photo", "style")
        ]
        side = options.config.image_size
        self._pools = [PicturePool(options.pool_size, side) for _ in self._judges]
        self._generators = [
            *self._forward.network.trainable_variables,
            *self._backward.trainable_variables,
        ]
        self._judging = [x for judge in self._judges for x in judge.trainable_variables]
        self._optimizer = keras.optimizers.Adam(1e-3, *_BETAS)
        self._optimizer.build(self._generators)
        self._judges_optimizer = keras.optimizers.Adam(1e-3, *_BETAS)
        self._judges_optimizer.build(self._judging)
        # A stage has a graph of its own: what weighs nothing is not computed.
        self._steps = [self.distribution.compiled(self._step_of(stage)) for stage in options.stages]
        self._restore(**self._tracked())

    def _tracked(self) -> dict[str, tf.Module]:
        """Returns everything that training changes, by its name in the checkpoint."""
        return {
            "forward": self._forward.network,
            "backward": self._backward,
            "average": self._average.network,
            "judge_photo": self._judges[0],
            "judge_style": self._judges[1],
            "pool_photo": self._pools[0],
            "pool_style": self._pools[1],
            "optimizer": self._optimizer,
            "judges_optimizer": self._judges_optimizer,
        }

    def released(self) -> TranslatorNetworks:
        """Returns the generator to the style with the moving averages of the weights."""
        return self._average

    def _train(self, step: int) -> Mapping[str, tf.Tensor]:
        options = self.options
        index, step_of_stage = stage_at(options.stages, step)
        stage = options.stages[index]
        if index and not step_of_stage:
            # The moments of other losses would lead astray.
            forget_moments(self._optimizer)
            forget_moments(self._judges_optimizer)
        size, seed = stage.batch_size, options.seed
        photos, styles = self._domains.batch(size, seed, step)
        painted, paintings, masks = photos[:0], photos[:0], photos[:0, ..., :1]
        if stage.paintings:
            painted, paintings, masks = self.paintings.batch(size, seed, step)
            if not stage.is_unpaired:
                # All that is seen of photos are those that were painted.
                photos = painted
        draws = np.random.default_rng((seed, step, 3)).random((2, size, 2), np.float32)
        rate = options.learning_rate * stage.rate * self._decay(step)
        self._optimizer.learning_rate.assign(rate)
        self._judges_optimizer.learning_rate.assign(rate)
        batch = (photos, styles, painted, paintings, masks, draws)
        values = self._steps[index](*map(tf.constant, batch))
        update_average(self._average.network.weights, self._forward.network.weights, _AVERAGE, step)
        return values

    def _decay(self, step: int) -> float:
        """Returns the factor of the learning rate: 1, and in the second half falling to 0."""
        return min(1.0, 2.0 * (1.0 - step / self.total_steps))

    def _step_of(self, stage: TranslatorStage):
        """Returns the function that trains on a batch with the losses of a stage."""

        def train(photos, styles, painted, paintings, masks, draws):
            photos, styles, painted, paintings = (
                distribution.own_rows(tf.cast(x, tf.float32) / 127.5 - 1.0)
                for x in (photos, styles, painted, paintings)
            )
            masks = distribution.own_rows(tf.cast(masks, tf.float32) / 255.0)
            variables = [*self._generators, *self._searched()]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                values, fakes = self._generator_terms(
                    stage, photos, styles, painted, paintings, masks, draws[0, 0]
                )
            gradients = tape.gradient(
                values["loss"], variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            count = len(self._generators)
            distribution.apply_gradients(self._optimizer, gradients[:count], self._generators)
            self._apply_searched(gradients[count:])
            if stage.adversarial:
                values["discriminator"] = self._train_judges((photos, styles), fakes, draws)
            return values

        return train

    def _translation(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]:
        """Returns the generator to the style, for one step."""
        return self._forward.network.translate

    def _searched(self) -> Sequence[tf.Variable]:
        """Returns further variables that the losses of generators train."""
        return ()

    def _apply_searched(self, gradients: Sequence[tf.Tensor]) -> None:
        """Updates the variables of `_searched`."""

    def _further_terms(self) -> dict[str, tf.Tensor]:
        """Returns further terms of the generators' loss, by name, with their weights."""
        return {}

    def _generator_terms(self, stage, photos, styles, painted, paintings, masks, place):
        """Computes the losses of the generators, and what the discriminators are to judge.

        `place` says where features of paintings are compared, [2] in [0, 1).
        The fakes are a photo and a style picture; None where a stage makes none.
        """
        forward, backward = self._translation(), self._backward.translate
        values, loss = {}, 0.0
        made_style, photo_logits = forward(painted if not stage.is_unpaired else photos)
        made_photo = None
        if stage.paintings:
            drawn = made_style if not stage.is_unpaired else forward(painted)[0]
            loss += stage.paintings * self._painting_terms(drawn, paintings, masks, place, values)
            if stage.backward:
                values["backward"] = losses.l1(backward(paintings)[0], painted)
                loss += stage.paintings * values["backward"]
        if stage.is_unpaired:
            made_photo, style_logits = backward(styles)
            values["cycle"] = losses.l1(backward(made_style)[0], photos)
            values["cycle"] += losses.l1(forward(made_photo)[0], styles)
            loss += stage.cycle * values["cycle"]
            same_style, style_as_photo = forward(styles)
            same_photo, photo_as_style = backward(photos)
            values["identity"] = self._distance(same_style, styles)
            values["identity"] += self._distance(same_photo, photos)
            loss += stage.identity * values["identity"]
            if photo_logits is not None and stage.activation:
                values["activation"] = _told_apart(photo_logits, style_as_photo)
                values["activation"] += _told_apart(style_logits, photo_as_style)
                loss += stage.activation * values["activation"]
        fakes = (made_photo, made_style)
        if stage.adversarial:
            values["adversarial"] = tf.add_n(
                [
                    _squares(judge.judge(fake), 1.0)
                    for judge, fake in zip(self._judges, fakes, strict=True)
                    if fake is not None
                ]
            )
            loss += stage.adversarial * values["adversarial"]
        for name, value in self._further_terms().items():
            values[name] = value
            loss += value
        return {"loss": loss} | values, fakes

    def _painting_terms(self, drawn, paintings, masks, place, values):
        values["l1"] = losses.l1(drawn, paintings)
        # Eyes and mouth are a face, and few pixels of the picture.
        values["face"] = losses.l1(masks * drawn, masks * paintings)
        loss = values["l1"] + _FACE_WEIGHT * values["face"]
        if self._features is not None:
            ours, theirs = (self._features(_square(x, place)) for x in (drawn, paintings))
            values["features"] = losses.feature_distance(ours, theirs)
            grams = [losses.gram_matrix(feature) for feature in theirs]
            values["texture"] = losses.gram_distance(ours, grams)
            loss += 0.5 * values["features"] + 0.1 * values["texture"]
        return loss

    def _distance(self, ours, theirs):
        """Computes the identity loss of pictures that should not have changed."""
        if self.options.identity_loss == "l1":
            return losses.l1(ours, theirs)
        return losses.feature_distance(self._features(ours), self._features(theirs))

    def _train_judges(self, reals, fakes, draws):
        """Trains the discriminators whose domain was drawn, and returns the sum of their losses."""
        seen = [
            None if fake is None else pool.exchanged(fake, drawn)
            for pool, fake, drawn in zip(self._pools, fakes, tf.unstack(draws), strict=True)
        ]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._judging)
            loss = tf.add_n(
                [
                    0.5 * (_squares(judge.judge(real), 1.0) + _squares(judge.judge(fake), 0.0))
                    for judge, real, fake in zip(self._judges, reals, seen, strict=True)
                    if fake is not None
                ]
            )
        gradients = tape.gradient(
            loss, self._judging, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        distribution.apply_gradients(self._judges_optimizer, gradients, self._judging)
        return loss

    def _sheet(self, step: int) -> ContactSheet:
        held_out, styles = self._domains.held_out(_SHEET_PICTURES)
        photos, styles = from_pixels(held_out), from_pixels(styles)
        forward, backward = self.released().network, self._backward
        translated = forward(photos)
        sheet = [("photo, held out", photos), (f"to the style, {step} steps", translated)]
        if self.paintings is not None:
            taught = self.paintings.pictures_of(held_out)
            if taught is not None:
                sheet.append(("the teacher's", from_pixels(taught)))
        # Without such a stage the generator to photos is as it was initialized.
        if any(stage.backward or stage.is_unpaired for stage in self.options.stages):
            photographed = backward(styles)
            sheet += [
                ("and back again", backward(translated)),
                ("identity: what the other generator makes of the photo", backward(photos)),
                ("style, held out", styles),
                ("to a photo", photographed),
                ("and back again", forward(photographed)),
                ("identity: what the other generator makes of the style", forward(styles)),
            ]
        captions, rows = zip(*sheet, strict=True)
        return ContactSheet([list(to_pixels(row.numpy())) for row in rows], captions)


def _fill(networks: TranslatorNetworks, weights: Mapping[str, np.ndarray]) -> None:
    """Assigns weights to networks that were built in the scope of the run's replicas.

    Raises:
      InvalidArgumentError: They are of another configuration.
    """
    variables = named_weights(networks.network)
    values = {name.partition("/")[2]: value for name, value in weights.items()}
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    if shapes != {name: value.shape for name, value in values.items()}:
        raise InvalidArgumentError(
            "the translator to start from has other widths or another depth than the one to train"
        )
    for name, variable in variables.items():
        variable.assign(values[name].astype(np.float32))


def _square(pictures: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Cuts the square out in which features are compared; small pictures are left whole."""
    side = pictures.shape[1]
    if side <= _FEATURE_SIDE:
        return pictures
    top, left = tf.unstack(tf.cast(place * float(side - _FEATURE_SIDE + 1), tf.int32))
    return tf.slice(pictures, [0, top, left, 0], [-1, _FEATURE_SIDE, _FEATURE_SIDE, -1])


def _squares(judged: tuple[tf.Tensor, tf.Tensor | None], target: float) -> tf.Tensor:
    """Computes the least-squares loss of a discriminator's scores and its attention's logits."""
    return tf.add_n([tf.reduce_mean(tf.square(x - target)) for x in judged if x is not None])


def _told_apart(own: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Computes the cross-entropy of logits of a generator's own domain, and of its target's."""
    return tf.reduce_mean(tf.nn.softplus(-own)) + tf.reduce_mean(tf.nn.softplus(other))
