"""Schedules of pretraining: stages of a run, released ones, and what a run depends on."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from mm_face_stylizer.models.blaze_stylegan.generator import COARSE_SPATIAL_SIDES
from mm_face_stylizer.models.blaze_stylegan.networks import NetworksConfig
from mm_face_stylizer.preset import Preset


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of training at one resolution.

    Attributes:
      image_size: Side in pixels of the finest image that is trained.
      steps: Number of steps.
      finest_weight: Weight of the finest image's L1 on top of its share in the pyramid.
      colour_weight: Weight of `losses.colour_error` on the finest image.
      perceptual_weight: Weight of the face-mesh feature distance.
      landmark_weight: Weight of the landmarks' mean distance, as a fraction of the side; without
        `perceptual_weight` it does not count.
      perceptual_images: Pictures of each batch for which it is computed.
      adversarial_share: Norm of the adversarial gradient with respect to the finest image, as a
        fraction of the norm of all other losses' gradient. 0 leaves the discriminator untouched.
      detail_weight: Weight of `losses.detail_distance` on the finest image.
      by_visibility: Whether losses of each portrait count as much as `losses.visibility` says.
      frozen_statistics: Whether batch normalisation keeps the statistics it has. The last stages
        train exactly the graph that is exported.
      spatial_dropout: Share of each batch that is reconstructed from w+ alone, so that random
        latents, which have no spatial latents, decode to faces too; and, where there are finer
        spatial latents than the face prior draws, share that is reconstructed without those.
      trained_from: Side in pixels of the feature map of the coarsest synthesis block that is
        trained. Coarser blocks, encoder and `w_avg` stay as they are, and a step costs no more than
        the blocks that learn; 0 trains everything.
    """

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


DEFAULT_STAGES = (
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
    # Without the discriminator again: what it sharpens stays, its halos round hair go.
    Stage(
        256,
        500,
        perceptual_weight=0.15,
        perceptual_images=6,
        frozen_statistics=True,
        spatial_dropout=0.3,
    ),
    # Expressions last: small changes, which matter more to people than to L1.
    Stage(
        256,
        700,
        perceptual_weight=0.2,
        landmark_weight=8.0,
        perceptual_images=10,
        frozen_statistics=True,
        spatial_dropout=0.2,
    ),
)

REFINEMENT_RATE = 5e-4

# What a released preset goes on with. Squared colour errors bring back what L1 gave up as rare:
# green hats, pink hair, the dark lines of spectacles.
_REFINEMENT = Stage(
    256,
    2000,
    finest_weight=1.0,
    colour_weight=2.0,
    perceptual_weight=0.15,
    perceptual_images=6,
    frozen_statistics=True,
    spatial_dropout=0.2,
)

REFINEMENT_STAGES = (
    _REFINEMENT,
    dataclasses.replace(
        _REFINEMENT, steps=500, perceptual_weight=0.2, landmark_weight=8.0, perceptual_images=8
    ),
)

# Last, what every pixel loss smooths away: single hairs, pores, fabric. No latent tells where each
# of them lies, so they are compared by their energy and judged by the discriminator, and the blocks
# that draw them learn alone. Dark faces lose most of their landmarks by it, and count for more.
SHARPENING_RATE = 8e-4

SHARPENING_STAGES = (
    dataclasses.replace(
        _REFINEMENT,
        steps=1200,
        landmark_weight=8.0,
        perceptual_images=10,
        adversarial_share=0.3,
        detail_weight=4.0,
        by_visibility=True,
        trained_from=16,
    ),
)

# From a preset with spatial latents to fewer of them: what they carried has to find its way through
# the code first. Small pictures are enough for that, and their steps cost a fifth to a third. To a
# code as narrow, statistics of a batch are noise: pictures would depend on those beside them.
FEWER_SPATIAL_RATE = 1e-3

_FEWER_SPATIAL = dataclasses.replace(_REFINEMENT, colour_weight=4.0)

FEWER_SPATIAL_STAGES = (
    dataclasses.replace(_FEWER_SPATIAL, image_size=32, steps=1600, perceptual_weight=0.0),
    dataclasses.replace(_FEWER_SPATIAL, image_size=64, steps=5000, perceptual_weight=0.0),
    dataclasses.replace(_FEWER_SPATIAL, image_size=128, steps=600, perceptual_images=4),
    dataclasses.replace(_FEWER_SPATIAL, steps=300),
)

# From a preset of half the side: what the encoder says is enough for a face, so that only the
# blocks that draw what is new have to learn. Without dropout: without their spatial latents, faces
# are others than the photos, and no sharper drawing would make them these.
GROWTH_RATE = 1e-3

GROWTH_BATCH = 8

_GROWTH = Stage(
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

GROWTH_STAGES = (
    _GROWTH,
    dataclasses.replace(_GROWTH, steps=600, adversarial_share=0.3, detail_weight=2.0),
)


def stages_for(stages: Sequence[Stage], image_size: int) -> tuple[Stage, ...]:
    """The same stages for networks of another side: the finest at `image_size`, in pixels."""
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
      spatial_sides: Sides in pixels of the spatial latents; none is the published configuration.
      batch_size: Portraits a step.
      learning_rate: Peak learning rate of Adam; it decays to 15 % along a cosine over all stages.
      seed: Seed of initial weights, batches and dropout.
      conv_dtype: Precision of the convolutions, `float32` or `bfloat16`.
      width: Factor on all channels; for tests.
    """

    stages: tuple[Stage, ...] = DEFAULT_STAGES
    image_size: int = 256
    spatial_sides: tuple[int, ...] = COARSE_SPATIAL_SIDES
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    seed: int = 0
    conv_dtype: str = "float32"
    width: float = 1.0

    @property
    def total_steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def encoder_is_kept(self) -> bool:
        """Whether no stage trains the encoder, so that every latent stays what it was."""
        return all(stage.trained_from for stage in self.stages)


def pretraining_options(arguments: argparse.Namespace, start: Preset | None):
    """Networks to start from, None if from nothing, and what the run depends on."""
    networks = start.networks() if start else None
    config = networks.config if networks else NetworksConfig()
    own = config.image_size
    size = _chosen(arguments.image_size, own)
    sides = tuple(_chosen(arguments.spatial_sides, config.spatial_sides))
    batch = PretrainingOptions.batch_size
    if arguments.sharpen and (networks is None or (size, sides) != (own, config.spatial_sides)):
        raise ValueError(
            "--sharpen needs --start-from, and changes neither its --image-size nor its "
            "--spatial-sides"
        )
    if arguments.strength != 1.0 and not arguments.sharpen:
        raise ValueError(f"--strength {arguments.strength:g} needs --sharpen")
    if networks is None:
        if size != own:
            raise ValueError(
                f"--image-size {size} needs --start-from, a preset of {size // 2} px; training "
                f"from nothing is at {own} px"
            )
        stages, rate = DEFAULT_STAGES, PretrainingOptions.learning_rate
    elif arguments.sharpen:
        stages, rate = SHARPENING_STAGES, SHARPENING_RATE
    elif size == own:
        stages, rate = REFINEMENT_STAGES, REFINEMENT_RATE
        if set(config.spatial_sides) - set(sides):
            stages, rate = FEWER_SPATIAL_STAGES, FEWER_SPATIAL_RATE
        networks = networks.with_spatial_latents(sides)
    else:
        if size != 2 * own:
            raise ValueError(
                f"--image-size is {size}, but {arguments.start_from} is a preset of {own} px; "
                f"from it, {own} and {2 * own} can be trained"
            )
        if set(sides) != set(config.spatial_sides):
            raise ValueError(
                f"--spatial-sides {' '.join(map(str, sides))} and --image-size {size} change the "
                "preset at once; its spatial latents are "
                f"{' '.join(map(str, config.spatial_sides)) or 'none'}: change them first"
            )
        networks = networks.with_image_size(size)
        stages, rate = GROWTH_STAGES, GROWTH_RATE
        batch = GROWTH_BATCH
    return networks, PretrainingOptions(
        shortened(stages_for(stages, size), arguments.steps),
        size,
        sides,
        _chosen(arguments.batch_size, batch),
        _chosen(arguments.learning_rate, rate),
        arguments.seed,
        arguments.conv_dtype,
        config.width,
    )


def _chosen(value, default):
    """What the command line says, or the default that it leaves in force."""
    return default if value is None else value


def shortened(stages, steps: int | None):
    """The stages with their shares of a number of steps, or with their own for None."""
    if steps is None:
        return stages
    total = sum(stage.steps for stage in stages)
    return tuple(
        dataclasses.replace(stage, steps=max(1, stage.steps * steps // total)) for stage in stages
    )
