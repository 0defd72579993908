"""Distillation: a BlazeStyleGAN student learns to draw what the teacher draws.

Source: Jia et al., "BlazeStyleGAN: A Real-Time On-Device StyleGAN" (2023), section 4: the student
shares the teacher's mapping network and learns to draw the teacher's picture of each latent, by a
perceptual loss on the pictures of all its heads and by an adversarial loss. Here, the perceptual
features are the face mesh's, which need no download, and L1 on every head determines the colors.
The discriminator is the preset's patch discriminator, which few-shot training uses too.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig, block_count, latent_rows
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.mapping import LATENT_DIM
from mm_face_stylizer.models.stylegan.discriminator import DEVIATION_GROUP
from mm_face_stylizer.models.stylegan.generator import MAPPING_LAYERS
from mm_face_stylizer.models.stylegan.networks import Teacher
from mm_face_stylizer.pixels import to_pixels
from mm_face_stylizer.training import distribution, losses
from mm_face_stylizer.training.adversary import Adversary
from mm_face_stylizer.training.draws import Draws
from mm_face_stylizer.training.portraits import Portraits
from mm_face_stylizer.training.regularizers import mixed_rows
from mm_face_stylizer.training.run import TrainingRun, learning_rate, step_seed

_CLIP_NORM = 5.0
_DISCRIMINATOR_RATE = 0.1
# Feature maps of the face mesh to compare; the coarser ones hardly change with the picture.
_FEATURE_MAPS = 4
_COLUMNS = 8


@dataclasses.dataclass(frozen=True)
class DistillationOptions:
    """What a distillation depends on.

    Attributes:
      image_size: Side in pixels of the student's finest picture, at most the teacher's.
      width: Factor on the student's channels; 1.0 is the published network.
      batch_size: Pictures a step.
      steps: Number of steps.
      learning_rate: Peak learning rate of Adam; it decays to 15 % along a cosine.
      truncation: Truncation of the teacher's latents, see `Teacher.latents`.
      style_mixing: Fraction of latents with rows of two faces.
      perceptual_weight: Weight of the face-mesh feature distance, a mean over heads.
      coarsest_perceptual: Side in pixels of the coarsest head whose features are compared. Below
        about 32, the mesh recognizes no face.
      perceptual_images: Pictures of each batch for which features are computed.
      adversarial_share: Norm of the adversarial gradient as a fraction of the others', see
        `Adversary`; 0 leaves the discriminator untouched.
      real_share: Fraction of portraits among the discriminator's real pictures; the others are the
        teacher's. Portraits mitigate the teacher's artifacts.
      reweighting: How strongly good pictures of the teacher count more than bad ones, by the logit
        of the teacher's discriminator: weights are proportional to exp(reweighting * logit). 0
        counts all alike.
      seed: Seed of initial weights, latents and batches.
      conv_dtype: Precision of the student's convolutions, `float32` or `bfloat16`.

    Raises:
      ValueError: a student cannot have this `image_size`, or a fraction is not in [0, 1].
    """

    image_size: int = 256
    width: float = 1.0
    batch_size: int = 16
    steps: int = 20_000
    learning_rate: float = 1.5e-3
    truncation: float = 1.0
    style_mixing: float = 0.5
    perceptual_weight: float = 0.3
    coarsest_perceptual: int = 32
    perceptual_images: int = 4
    adversarial_share: float = 0.3
    real_share: float = 0.5
    reweighting: float = 0.0
    seed: int = 0
    conv_dtype: str = "float32"

    def __post_init__(self):
        """Checks the values."""
        block_count(self.image_size)
        for name in ("style_mixing", "real_share", "truncation"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidArgumentError(
                    f"{name} is {getattr(self, name)}; it must be from 0 to 1"
                )

    @property
    def stages(self) -> tuple[DistillationOptions, ...]:
        """The options themselves, because all steps are alike."""
        return (self,)


class Distillation(TrainingRun):
    """A resumable distillation in a folder.

    Attributes:
      options: What the run depends on.
      networks: The student, pure w+; synthesis network and discriminator are trained, mapping
        network and `w_avg` are the teacher's, the encoder stays untrained.
    """

    title = "Distillation"

    def __init__(
        self,
        options: DistillationOptions,
        teacher: Teacher,
        portraits: Portraits,
        face_mesh: FaceMeshFeatures,
        folder: str | os.PathLike,
    ):
        """Builds the student and restores the last checkpoint of the folder, if there is one.

        Args:
          options: What the run depends on.
          teacher: The network that draws the pictures to learn from.
          portraits: Additional real pictures for the discriminator.
          face_mesh: Perceptual space.
          folder: Where checkpoints, sheets and logs go; made if it is missing.

        Raises:
          ValueError: The teacher or the portraits are smaller than the student's pictures, or the
            batch cannot be shared among replicas.
        """
        sizes = {"teacher's pictures": teacher.config.image_size, "portraits": portraits.side}
        for name, size in sizes.items():
            if size < options.image_size:
                raise InvalidArgumentError(
                    f"The {name} have {size} pixels a side; a student of {options.image_size} "
                    "pixels needs as many."
                )
        super().__init__(folder, options.steps)
        self.options = options
        # The teacher's discriminator, which compares groups of pictures, is used for reweighting
        # only.
        group = DEVIATION_GROUP if options.reweighting else 1
        self._share = self.distribution.share(options.batch_size, group)
        self._teacher = teacher
        self._portraits = portraits
        self._face_mesh = face_mesh
        keras.utils.set_random_seed(options.seed)
        config = NetworksConfig(options.image_size, (), options.width, MAPPING_LAYERS)
        networks = Networks.build(config, options.conv_dtype)
        teacher.mapping.copy_to(networks.mapping)
        rows = latent_rows(options.image_size)
        w_avg = np.tile(np.asarray(teacher.w_avg, np.float32), (1, rows, 1))
        self.networks = dataclasses.replace(networks, w_avg=w_avg)
        self._variables = networks.synthesis.trainable_variables
        self._optimizer = keras.optimizers.Adam(options.learning_rate, 0.5, 0.99)
        self._optimizer.build(self._variables)
        self._adversary = Adversary(
            networks.discriminator, options.image_size, _DISCRIMINATOR_RATE * options.learning_rate
        )
        self._train_step = self.distribution.compiled(self._traced_step)
        self._restore(
            synthesis=networks.synthesis,
            discriminator=networks.discriminator,
            optimizer=self._optimizer,
            discriminator_optimizer=self._adversary.optimizer,
        )

    def _train(self, step: int):
        options = self.options
        self._optimizer.learning_rate.assign(
            learning_rate(options.learning_rate, step, self.total_steps, step)
        )
        random = np.random.default_rng((options.seed, step, 1))
        return self._train_step(
            tf.constant(self._portraits.batch(options.batch_size, options.seed, step).images),
            step_seed(options.seed, step),
            self._adversary.random_crop(random),
        )

    def _student_latents(self, latents):
        """Selects the rows of the teacher's latents for the student.

        Both networks start at 4 px and have two rows per octave, except that the teacher has one in
        the first. A row therefore controls the same octave in both, to within half an octave, and
        the teacher's finest two rows are left over.
        """
        return latents[:, : latent_rows(self.options.image_size)]

    def _teacher_pictures(self, latents):
        """Draws the teacher's pictures, at its side and at the student's."""
        pictures = self._teacher.synthesis({"inputs": latents})["image"][-1]
        pictures = tf.clip_by_value(pictures, -1.0, 1.0)
        return pictures, losses.shrunken(pictures, self.options.image_size)

    def _traced_step(self, images, seed, crop):
        options, teacher = self.options, self._teacher
        draws = Draws(seed)
        first, second = (
            teacher.latents(draws.normal((self._share, LATENT_DIM)), options.truncation)
            for _ in range(2)
        )
        latents = mixed_rows(first, second, options.style_mixing, draws)
        pictures, target = self._teacher_pictures(latents)
        weights = sample_weights(teacher.discriminator(pictures), options.reweighting)
        with tf.GradientTape() as tape:
            student = self._student_latents(latents)
            outputs = self.networks.synthesis({"inputs": student})["image"]
        with tf.GradientTape() as loss_tape:
            loss_tape.watch(outputs)
            loss, values = self._losses(outputs, target, weights)
        gradients = loss_tape.gradient(loss, outputs)
        if options.adversarial_share:
            count = int(round(options.real_share * self._share))
            photos = tf.cast(distribution.own_rows(images)[:count], tf.float32) / 127.5 - 1.0
            reals = tf.concat([losses.shrunken(photos, options.image_size), target[count:]], axis=0)
            gradient, extra = self._adversary.train(outputs[-1], reals, crop, gradients[-1])
            gradients[-1] += options.adversarial_share * gradient
            values |= extra
        updates = tape.gradient(outputs, self._variables, output_gradients=gradients)
        distribution.apply_gradients(self._optimizer, updates, self._variables, _CLIP_NORM)
        return values

    def _losses(self, outputs, target, weights):
        """Computes L1 on all heads, and feature distances on all fine enough for the mesh."""
        targets = losses.image_pyramid(target, len(outputs))
        # |w a - w b| = w |a - b|, so scaling both pictures weights their distance.
        each = tf.reshape(weights, (-1, 1, 1, 1))
        values = {"l1": losses.pyramid_l1([each * x for x in outputs], [each * x for x in targets])}
        loss = values["l1"]
        if self.options.perceptual_weight:
            count = self.distribution.part(self.options.perceptual_images)
            terms = []
            for output, wanted in zip(outputs, targets, strict=True):
                if output.shape[1] >= self.options.coarsest_perceptual:
                    seen = losses.with_colors_of(output[:count], wanted[:count])
                    terms.append(
                        losses.feature_distance(
                            [each[:count] * x for x in self._features(seen)],
                            [each[:count] * x for x in self._features(wanted[:count])],
                        )
                    )
            values["features"] = tf.add_n(terms) / len(terms)
            loss += self.options.perceptual_weight * values["features"]
        return loss, values

    def _features(self, images):
        return self._face_mesh(images).features[:_FEATURE_MAPS]

    def _sheet(self, step: int) -> ContactSheet:
        rows, captions = [], []
        for seed in range(2):
            noise = np.random.default_rng(seed).standard_normal((_COLUMNS, LATENT_DIM))
            latents = self._teacher.latents(tf.constant(noise, tf.float32), 0.7)
            drawn = self.networks.synthesis({"inputs": self._student_latents(latents)})["image"]
            rows.append(to_pixels(self._teacher_pictures(latents)[1].numpy()))
            rows.append(to_pixels(drawn[-1].numpy()))
            captions += ["teacher", f"student, step {step}"]
        return ContactSheet(rows, captions)


def sample_weights(logits: tf.Tensor, strength: float) -> tf.Tensor:
    """Computes the weights of the teacher's pictures.

    Args:
      logits: Logits of the teacher's discriminator, [batch, 1].
      strength: See `DistillationOptions.reweighting`.

    Returns:
      [batch], of mean 1 over all replicas.
    """
    logits = strength * logits[:, 0]
    everyone = distribution.gathered(logits)
    weights = tf.exp(logits - tf.reduce_logsumexp(everyone))
    return tf.stop_gradient(weights * tf.cast(tf.shape(everyone)[0], tf.float32))
