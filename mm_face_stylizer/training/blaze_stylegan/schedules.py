"""Schedules of pretraining: what is trained in which order, and which one suits a request.

Everything here is plain data and pure functions, without TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.blaze_stylegan.config import COARSE_SPATIAL_SIDES, NetworksConfig

_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training at one resolution.

    Attributes:
      image_size: Side in pixels of the finest image that is trained.
      steps: Number of steps.
      finest_weight: Weight of the finest image's L1, on top of its share in the pyramid.
      colour_weight: Weight of `losses.color_error` on the finest image.
      perceptual_weight: Weight of the face-mesh feature distance.
      landmark_weight: Weight of the landmarks' mean distance as a fraction of the side, relative to
        `perceptual_weight`'s term; without that term it has no effect.
      perceptual_images: Pictures of each batch for which both are computed.
      adversarial_share: Norm of the adversarial gradient with respect to the finest image, as a
        fraction of the norm of all other losses' gradient. 0 leaves the discriminator untouched.
      detail_weight: Weight of `losses.detail_distance` on the finest image.
      by_visibility: Whether each portrait's losses are weighted by `losses.visibility`.
      frozen_statistics: Whether batch normalization keeps the statistics that it has. The last
        stages train exactly the graph that is exported.
      spatial_dropout: Fraction of each batch that is reconstructed from w+ alone, so that random
        latents, which have no spatial latents, decode to faces too. For spatial latents finer than
        the face prior draws, twice that fraction is reconstructed without them.
      trained_from: Side in pixels of the feature map of the coarsest synthesis block that is
        trained. Coarser blocks, encoder and `w_avg` stay as they are, and a step costs no more than
        the blocks that learn; 0 trains everything.
    """

    # The names of the fields are keys in the cards of presets.
    image_size: int
    steps: int
    finest_weight: float = 0.0
    colour_weight: float = 0.0
    perceptual_weight: float = 0.0
    landmark_weight: float = 2.0
    perceptual_images: int = 8
    adversarial_share: float = 0.0
    detail_weight: float = 0.0
    by_visibility: bool = False
    frozen_statistics: bool = False
    spatial_dropout: float = 0.2
    trained_from: int = 0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Stages with the learning rate and the batch size that suit them.

    Attributes:
      stages: Stretches of training, in order.
      learning_rate: Peak learning rate of Adam.
      batch_size: Portraits a step.
    """

    stages: tuple[Stage, ...]
    learning_rate: float
    batch_size: int = 16


# From random weights.
FROM_SCRATCH = Schedule(
    (
        Stage(64, 800),
        Stage(128, 1800, perceptual_weight=0.15, perceptual_images=4),
        Stage(
            256,
            1500,
            perceptual_weight=0.15,
            perceptual_images=6,
            frozen_statistics=True,
            spatial_dropout=0.4,
        ),
        Stage(
            256,
            1500,
            perceptual_weight=0.15,
            perceptual_images=6,
            adversarial_share=0.4,
            frozen_statistics=True,
            spatial_dropout=0.3,
        ),
        # Without the discriminator again: the sharpness that it brought stays, while its halos
        # around hair disappear.
        Stage(
            256,
            500,
            perceptual_weight=0.15,
            perceptual_images=6,
            frozen_statistics=True,
            spatial_dropout=0.3,
        ),
        # Expressions come last: they are small changes, which matter more to people than to L1.
        Stage(
            256,
            700,
            perceptual_weight=0.2,
            landmark_weight=8.0,
            perceptual_images=10,
            frozen_statistics=True,
            spatial_dropout=0.2,
        ),
    ),
    learning_rate=1.5e-3,
)

_REFINED = Stage(
    256,
    2000,
    finest_weight=1.0,
    colour_weight=2.0,
    perceptual_weight=0.15,
    perceptual_images=6,
    frozen_statistics=True,
    spatial_dropout=0.2,
)

# From a released preset. Squared color errors bring back what L1 gave up as rare: green hats, pink
# hair, the dark lines of glasses.
REFINEMENT = Schedule(
    (
        _REFINED,
        dataclasses.replace(
            _REFINED, steps=500, perceptual_weight=0.2, landmark_weight=8.0, perceptual_images=8
        ),
    ),
    learning_rate=5e-4,
)

# From a released preset, for what every pixel loss smooths away: single hairs, pores, fabric. No
# latent encodes where each of them lies, so they are compared by their energy and judged by the
# discriminator, and only the blocks that draw them are trained. Dark faces would lose most of their
# landmarks that way, so they get a higher weight.
SHARPENING = Schedule(
    (
        dataclasses.replace(
            _REFINED,
            steps=1200,
            landmark_weight=8.0,
            perceptual_images=10,
            adversarial_share=0.3,
            detail_weight=4.0,
            by_visibility=True,
            trained_from=16,
        ),
    ),
    learning_rate=8e-4,
)

_FEWER_SPATIAL = dataclasses.replace(_REFINED, colour_weight=4.0)

# From a preset with more spatial latents: what they encoded must first find its way through w+.
# Small pictures suffice for that, and their steps cost a fifth to a third. The statistics of a
# batch stay frozen, because in so narrow an encoder they are noise: each picture would depend on
# the others of its batch.
FEWER_SPATIAL = Schedule(
    (
        dataclasses.replace(_FEWER_SPATIAL, image_size=32, steps=1600, perceptual_weight=0.0),
        dataclasses.replace(_FEWER_SPATIAL, image_size=64, steps=5000, perceptual_weight=0.0),
        dataclasses.replace(_FEWER_SPATIAL, image_size=128, steps=600, perceptual_images=4),
        dataclasses.replace(_FEWER_SPATIAL, steps=300),
    ),
    learning_rate=1e-3,
)

_GROWN = Stage(
    512,
    800,
    finest_weight=1.0,
    colour_weight=2.0,
    perceptual_weight=0.15,
    perceptual_images=2,
    frozen_statistics=True,
    spatial_dropout=0.0,
    trained_from=128,
)

# From a preset of half the side. Its encoder's latents suffice for a face, so only the blocks that
# draw the new pixels are trained. There is no dropout, because without spatial latents the faces
# are not those of the photos, and drawing them more sharply would not change that.
GROWTH = Schedule(
    (
        _GROWN,
        dataclasses.replace(_GROWN, steps=600, adversarial_share=0.3, detail_weight=2.0),
    ),
    learning_rate=1e-3,
    batch_size=8,
)


def stages_for(stages: Sequence[Stage], image_size: int) -> tuple[Stage, ...]:
    """Returns the same stages for networks of another side: the finest at `image_size` pixels."""
    finest = max(stage.image_size for stage in stages)
    return tuple(
        dataclasses.replace(
            stage,
            image_size=stage.image_size * image_size // finest,
            trained_from=stage.trained_from * image_size // finest,
        )
        for stage in stages
    )


@dataclasses.dataclass(frozen=True)
class PretrainingOptions:
    """What a pretraining run depends on.

    Attributes:
      stages: Stretches of training, in order.
      image_size: Side in pixels of the finest image of the whole network.
      spatial_sides: Sides in pixels of the spatial latents; empty in the published configuration.
      batch_size: Portraits a step.
      learning_rate: Peak learning rate of Adam; it decays to 15 % along a cosine over all stages.
      seed: Seed of initial weights, batches and dropout.
      conv_dtype: Precision of the convolutions, `float32` or `bfloat16`.
      width: Factor on all channels; for tests.
    """

    stages: tuple[Stage, ...] = FROM_SCRATCH.stages
    image_size: int = 256
    spatial_sides: tuple[int, ...] = COARSE_SPATIAL_SIDES
    batch_size: int = FROM_SCRATCH.batch_size
    learning_rate: float = FROM_SCRATCH.learning_rate
    seed: int = 0
    conv_dtype: str = "float32"
    width: float = 1.0

    @property
    def total_steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def encoder_is_kept(self) -> bool:
        """Whether no stage trains the encoder, so that all latents stay what they were."""
        return all(stage.trained_from for stage in self.stages)


@dataclasses.dataclass(frozen=True)
class PretrainingRequest:
    """What a user asks of a pretraining; None leaves a value to the schedule.

    Attributes:
      start_from: Name or folder of the preset to start from; None starts from random weights.
      image_size: Side in pixels of the finest image; None for that of the preset, or 256.
      spatial_sides: Sides in pixels of the spatial latents; None for those of the preset, or 8, 16.
      sharpen: Whether only the finer blocks are trained, for fine detail.
      strength: With `sharpen`: how much of the change the new preset takes over, from 0 to 1.
      steps: Number of steps.
      batch_size: Portraits a step.
      learning_rate: Peak learning rate of Adam.
      seed: Seed of initial weights, batches and dropout.
      conv_dtype: Precision of the convolutions, `float32` or `bfloat16`.
    """

    start_from: str | None = None
    image_size: int | None = None
    spatial_sides: tuple[int, ...] | None = None
    sharpen: bool = False
    strength: float = 1.0
    steps: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    conv_dtype: str = "float32"


def pretraining_options(
    request: PretrainingRequest, start: NetworksConfig | None = None
) -> PretrainingOptions:
    """Chooses the schedule for a request.

    Args:
      request: What the user asks for.
      start: Configuration of the preset `request.start_from`; None if there is none.

    Returns:
      What the run depends on.

    Raises:
      ValueError: Options contradict each other, or no schedule leads from the preset to what is
        asked for.
    """
    config = start or NetworksConfig()
    size = _chosen(request.image_size, config.image_size)
    sides = _chosen(request.spatial_sides, config.spatial_sides)
    schedule = _schedule(request, start, size, sides)
    return PretrainingOptions(
        stages=shortened(stages_for(schedule.stages, size), request.steps),
        image_size=size,
        spatial_sides=sides,
        batch_size=_chosen(request.batch_size, schedule.batch_size),
        learning_rate=_chosen(request.learning_rate, schedule.learning_rate),
        seed=request.seed,
        conv_dtype=request.conv_dtype,
        width=config.width,
    )


def _schedule(
    request: PretrainingRequest, start: NetworksConfig | None, size: int, sides: tuple[int, ...]
) -> Schedule:
    """Returns the schedule from `start` to networks of `size` pixels with the spatial `sides`."""
    changed = start is None or (size, sides) != (start.image_size, start.spatial_sides)
    if request.sharpen and changed:
        raise InvalidArgumentError(
            "--sharpen needs --start-from, and changes neither its --image-size nor its "
            "--spatial-sides"
        )
    if request.strength != 1.0 and not request.sharpen:
        raise InvalidArgumentError(f"--strength {request.strength:g} needs --sharpen")
    if start is None:
        if size != NetworksConfig.image_size:
            raise InvalidArgumentError(
                f"--image-size {size} needs --start-from, a preset of {size // 2} px; training "
                f"from scratch is at {NetworksConfig.image_size} px"
            )
        return FROM_SCRATCH
    if request.sharpen:
        return SHARPENING
    if size == start.image_size:
        dropped = set(start.spatial_sides) - set(sides)
        return FEWER_SPATIAL if dropped else REFINEMENT
    if size != 2 * start.image_size:
        raise InvalidArgumentError(
            f"--image-size is {size}, but {request.start_from} is a preset of "
            f"{start.image_size} px; from it, {start.image_size} and {2 * start.image_size} can be "
            "trained"
        )
    if sides != start.spatial_sides:
        raise InvalidArgumentError(
            f"--spatial-sides {' '.join(map(str, sides))} and --image-size {size} change the "
            "preset at once; its spatial latents are "
            f"{' '.join(map(str, start.spatial_sides)) or 'none'}: change them first"
        )
    return GROWTH


def _chosen(value: _Value | None, default: _Value) -> _Value:
    """Returns what the user chose, or the default."""
    return default if value is None else value


def shortened(stages: tuple[Any, ...], steps: int | None) -> tuple[Any, ...]:
    """Shares a number of steps among stages, in proportion to the steps that they have.

    Args:
      stages: Frozen dataclasses with a field `steps`.
      steps: Steps of all stages together, up to rounding; None leaves the stages as they are.
    """
    if steps is None:
        return stages
    total = sum(stage.steps for stage in stages)
    return tuple(
        dataclasses.replace(stage, steps=max(1, stage.steps * steps // total)) for stage in stages
    )
