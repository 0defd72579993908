"""Trains the teacher, a StyleGAN2, on a few thousand portraits.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), for the
losses; "Training Generative Adversarial Networks with Limited Data" (2020) for the augmentation and
for how the weight of R1 and the averaging depend on size and batch. Regularization is added to the
loss every few steps, with a proportionally higher weight, instead of having separate steps. That
gives the same gradient on average, with fewer optimizer steps.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.models.stylegan.discriminator import DEVIATION_GROUP
from mm_face_stylizer.models.stylegan.generator import teacher_sides
from mm_face_stylizer.models.stylegan.networks import Teacher, TeacherConfig
from mm_face_stylizer.training import distribution, losses
from mm_face_stylizer.training.augmentation import AugmentationStrength, augmented
from mm_face_stylizer.training.draws import Draws
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.regularizers import gradient_penalty, mixed_rows, path_lengths
from mm_face_stylizer.training.run import TrainingRun, step_seed

_PATH_DECAY = 0.01
_W_AVG_DECAY = 0.998
# Half-life of the averaged weights in batches, but at most 5 % of the pictures seen so far.
_AVERAGED_IMAGES_OF_BATCH = 10_000 / 32
_AVERAGED_SHARE = 0.05
_SHEET_COLUMNS, _SHEET_ROWS = 8, 4
_SHEET_TRUNCATION = 0.7


@dataclasses.dataclass(frozen=True)
class TeacherOptions:
    """What a training of the teacher depends on.

    Attributes:
      image_size: Side of the pictures in pixels.
      width: Factor on the channels; 1.0 is the published network.
      batch_size: Portraits a step: fewer than four, or a multiple of four.
      steps: Number of steps.
      learning_rate: Adam's, of both networks, constant.
      r1_weight: Weight of R1; None takes 0.0002 * image_size^2 / batch_size.
      r1_interval: Steps from one R1 to the next.
      path_weight: Weight of path-length regularization; 0 leaves it out.
      path_interval: Steps from one path-length regularization to the next.
      path_share: Fraction of a batch for which it is computed.
      style_mixing: Fraction of generated pictures from two latents.
      augmentation_target: Certainty of the discriminator at which augmentation keeps it, see
        `AugmentationStrength`; 0 disables augmentation.
      augmentation_images: Pictures within which its probability can go from 0 to 1.
      seed: Seed of weights, batches, noise and augmentation.
      conv_dtype: Precision of the 3x3 convolutions, `float32` or `bfloat16`.

    Raises:
      ValueError: `image_size`, `batch_size`, `steps` or an interval is out of its range.
    """

    image_size: int = 256
    width: float = 1.0
    batch_size: int = 16
    steps: int = 50_000
    learning_rate: float = 2e-3
    r1_weight: float | None = None
    r1_interval: int = 16
    path_weight: float = 2.0
    path_interval: int = 4
    path_share: float = 0.5
    style_mixing: float = 0.9
    augmentation_target: float = 0.6
    augmentation_images: int = 500_000
    seed: int = 0
    conv_dtype: str = "float32"

    def __post_init__(self):
        """Checks the values."""
        teacher_sides(self.image_size)
        size = self.batch_size
        if size < 1 or (size > DEVIATION_GROUP and size % DEVIATION_GROUP):
            raise InvalidArgumentError(
                f"batch_size is {size}; it must be 1 to {DEVIATION_GROUP} or a multiple of "
                f"{DEVIATION_GROUP}, whose pictures the discriminator compares"
            )
        for name in ("steps", "r1_interval", "path_interval"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(
                    f"{name} is {getattr(self, name)}; it must be at least 1"
                )

    @property
    def stages(self) -> tuple[TeacherOptions, ...]:
        """The options themselves, because all steps are alike."""
        return (self,)

    @property
    def effective_r1_weight(self) -> float:
        """Weight of R1; the default depends on size and batch."""
        if self.r1_weight is not None:
            return self.r1_weight
        return 0.0002 * self.image_size**2 / self.batch_size


class TeacherTraining(TrainingRun):
    """A resumable training of the teacher in a folder.

    Attributes:
      options: What the run depends on.
      teacher: The networks with running averages of the weights, which draw better pictures than
        the trained weights; the discriminator is not averaged.
      augmentation: Strength of the augmentation.
    """

    title = "Teacher"

    def __init__(
        self,
        options: TeacherOptions,
        portraits: Portraits,
        folder: str | os.PathLike,
        start: Teacher | None = None,
    ):
        """Builds the networks and restores the last checkpoint of the folder, if there is one.

        Args:
          options: What the run depends on.
          portraits: Portraits to learn from.
          folder: Where checkpoints, sheets and logs go; made if it is missing.
          start: A teacher of the same width and of at most the side to start from; None starts from
            random weights.

        Raises:
          ValueError: The portraits are smaller than the pictures, the batch cannot be shared among
            replicas, or `start` is of another width or a larger side.
        """
        if portraits.side % options.image_size:
            raise InvalidArgumentError(
                f"The portraits have {portraits.side} pixels a side; {options.image_size} pixels "
                "are not a fraction of that."
            )
        super().__init__(folder, options.steps)
        self.options = options
        self._share = self.distribution.share(options.batch_size, DEVIATION_GROUP)
        self._portraits = portraits
        keras.utils.set_random_seed(options.seed)
        config = TeacherConfig(options.image_size, options.width)
        if start is None:
            live = Teacher.build(config, options.conv_dtype)
        else:
            if start.config.width != options.width:
                raise InvalidArgumentError(
                    f"The width is {options.width}, but that of the teacher to start from is "
                    f"{start.config.width}; they must be the same."
                )
            live = start.with_image_size(options.image_size, options.conv_dtype)
        self._live = live
        averaged = Teacher.build(config, options.conv_dtype)
        for source, target in (
            (live.mapping, averaged.mapping),
            (live.synthesis, averaged.synthesis),
        ):
            target.set_weights(source.get_weights())
        self.teacher = dataclasses.replace(
            averaged,
            discriminator=live.discriminator,
            w_avg=tf.Variable(live.w_avg, name="w_avg"),
        )
        self.augmentation = AugmentationStrength(
            options.augmentation_target, options.augmentation_images
        )
        self._path_mean = tf.Variable(0.0, name="path_mean")
        self._generator_variables = [
            *live.mapping.trainable_variables,
            *live.synthesis.trainable_variables,
        ]
        self._averaged_variables = [
            *averaged.mapping.trainable_variables,
            *averaged.synthesis.trainable_variables,
        ]
        self._generator_optimizer = keras.optimizers.Adam(options.learning_rate, 0.0, 0.99, 1e-8)
        self._generator_optimizer.build(self._generator_variables)
        self._discriminator_optimizer = keras.optimizers.Adam(
            options.learning_rate, 0.0, 0.99, 1e-8
        )
        self._discriminator_optimizer.build(live.discriminator.trainable_variables)
        # Traced once for each combination of regularizations.
        self._train_step = self.distribution.compiled(self._traced_step)
        self._restore(
            mapping=live.mapping,
            synthesis=live.synthesis,
            discriminator=live.discriminator,
            averaged_mapping=averaged.mapping,
            averaged_synthesis=averaged.synthesis,
            w_avg=self.teacher.w_avg,
            path_mean=self._path_mean,
            augmentation_probability=self.augmentation.probability,
            certainty=self.augmentation.certainty,
            generator_optimizer=self._generator_optimizer,
            discriminator_optimizer=self._discriminator_optimizer,
        )

    def _train(self, step: int):
        options = self.options
        images = self._portraits.batch(options.batch_size, options.seed, step).images
        return self._train_step(
            tf.constant(images),
            step_seed(options.seed, step),
            tf.constant(self._averaging(step), tf.float32),
            step % options.r1_interval == 0,
            options.path_weight > 0 and step % options.path_interval == 0,
        )

    def _averaging(self, step: int) -> float:
        """Returns the decay of the averaged weights."""
        seen = (step + 1) * self.options.batch_size
        half_life = self.options.batch_size * _AVERAGED_IMAGES_OF_BATCH
        half_life = min(half_life, _AVERAGED_SHARE * seen)
        return 0.5 ** (self.options.batch_size / half_life)

    def _traced_step(self, images, seed, averaging, with_r1, with_path):
        draws = Draws(seed)
        reals = tf.cast(distribution.own_rows(images), tf.float32) / 127.5 - 1.0
        reals = losses.shrunken(reals, self.options.image_size)
        values = self._train_discriminator(reals, draws, with_r1)
        values |= self._train_generator(draws, with_path)
        pairs = zip(self._averaged_variables, self._generator_variables, strict=True)
        for average, variable in pairs:
            average.assign(variable + averaging * (average - variable))
        return values

    def _random_latents(self, count, draws):
        """Returns random latents with style mixing, and w of the first face of each."""
        label = tf.zeros((count, 0))
        first = self._live.mapping([draws.normal((count, LATENT_DIM)), label])
        second = self._live.mapping([draws.normal((count, LATENT_DIM)), label])
        return mixed_rows(first, second, self.options.style_mixing, draws), first[:, 0]

    def _synthesized(self, latents, draws):
        shapes = self._live.synthesis.noise_shapes(latents.shape[0])
        noise = [draws.normal(shape) for shape in shapes]
        return self._live.synthesis({"inputs": latents, "noise": noise})["image"][-1]

    def _augment(self, images, draws):
        """Augments pictures for the discriminator."""
        if not self.options.augmentation_target:
            return images
        return augmented(images, self.augmentation.probability, draws)

    def _train_discriminator(self, reals, draws, with_r1):
        options, discriminator = self.options, self._live.discriminator
        latents, _ = self._random_latents(self._share, draws)
        fakes = self._augment(tf.stop_gradient(self._synthesized(latents, draws)), draws)
        reals = self._augment(reals, draws)
        values = {}
        with tf.GradientTape() as tape:
            if with_r1:
                real_logits, penalty = gradient_penalty(discriminator, reals)
                weight = 0.5 * options.effective_r1_weight * options.r1_interval
                values["r1"] = penalty
            else:
                real_logits, penalty, weight = discriminator(reals), 0.0, 0.0
            values["discriminator"] = losses.discriminator_loss(real_logits, discriminator(fakes))
            loss = values["discriminator"] + weight * penalty
        variables = discriminator.trainable_variables
        distribution.apply_gradients(
            self._discriminator_optimizer, tape.gradient(loss, variables), variables
        )
        if options.augmentation_target:
            self.augmentation.update(real_logits)
            values["augmentation"] = tf.identity(self.augmentation.probability)
            values["certainty"] = tf.identity(self.augmentation.certainty)
        return values

    def _train_generator(self, draws, with_path):
        options = self.options
        values = {}
        with tf.GradientTape() as tape:
            latents, w = self._random_latents(self._share, draws)
            fakes = self._augment(self._synthesized(latents, draws), draws)
            values["generator"] = losses.generator_loss(self._live.discriminator(fakes))
            loss = values["generator"]
            if with_path:
                values["path"] = self._path_penalty(draws)
                loss += options.path_weight * options.path_interval * values["path"]
        variables = self._generator_variables
        distribution.apply_gradients(
            self._generator_optimizer, tape.gradient(loss, variables), variables
        )
        mean = distribution.mean(tf.reduce_mean(w, axis=0))
        w_avg = self.teacher.w_avg
        w_avg.assign(mean + _W_AVG_DECAY * (w_avg - mean))
        return values

    def _path_penalty(self, draws):
        """Returns the mean squared difference of path lengths from their running mean."""
        count = max(1, int(self._share * self.options.path_share))
        latents, _ = self._random_latents(count, draws)
        lengths = path_lengths(lambda rows: self._synthesized(rows, draws), latents, draws)
        length = distribution.mean(tf.reduce_mean(tf.stop_gradient(lengths)))
        change = _PATH_DECAY * (length - self._path_mean)
        mean = self._path_mean.assign_add(change)
        return tf.reduce_mean(tf.square(lengths - mean))

    def _sheet(self, step: int) -> ContactSheet:
        count = _SHEET_COLUMNS * _SHEET_ROWS
        rows, captions = [], []
        for truncation in (1.0, _SHEET_TRUNCATION):
            pictures = self.teacher.pictures(count, self.options.seed, truncation)
            rows += np.split(pictures, _SHEET_ROWS)
            captions += [f"step {step}, truncation {truncation}", *[""] * (_SHEET_ROWS - 1)]
        return ContactSheet(rows, captions)
