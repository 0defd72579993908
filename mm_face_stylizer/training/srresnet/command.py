"""The command that trains an upscaler."""

from __future__ import annotations

import argparse
import pathlib

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.srresnet.config import CONFIGURATIONS, SCALES, upscaler_config
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.command_options import (
    add_precision,
    add_run_options,
    read_run_request,
)
from task_bundle.command_line import positive_int

_STEPS, _PERCEPTUAL_STEPS = 20_000, 3000


def add_upscaler(commands) -> None:
    """Adds `upscaler train`.

    Args:
      commands: What `ArgumentParser.add_subparsers` returned.
    """
    upscaler = commands.add_parser(
        "upscaler",
        help="train a network that enlarges pictures",
        description="Trains networks that enlarge pictures and the pictures of stylizers, for "
        "`upscale`.",
    )
    actions = upscaler.add_subparsers()
    train = actions.add_parser(
        "train",
        help="train an upscaler from pictures",
        description="Trains an upscaler on patches of pictures, first by their pixels, then by "
        "perceptual features too, and writes it as a preset into the run's folder. Run it again to "
        "resume after an interruption.",
    )
    train.add_argument(
        "--network",
        choices=CONFIGURATIONS,
        default="fast",
        help="SRResNet as published, the baseline of EDSR, a small one for phones, or one that is "
        "several times as fast (fast)",
    )
    train.add_argument(
        "--scale", type=int, choices=SCALES, default=2, help="factor on the side (2)"
    )
    train.add_argument(
        "--drawings",
        type=pathlib.Path,
        metavar="DIR",
        help="drawn and painted pictures, from which half of the patches come then",
    )
    train.add_argument(
        "--start-from",
        metavar="PRESET",
        help="take over the weights of this upscaler that fit: to four times the side from one to "
        "twice the side, for example",
    )
    train.add_argument(
        "--loss", choices=("l1", "mse"), default="l1", help="of pixels, absolute or squared (l1)"
    )
    train.add_argument(
        "--perceptual-steps",
        type=int,
        default=_PERCEPTUAL_STEPS,
        metavar="N",
        help=f"further steps with perceptual features, 0 for none ({_PERCEPTUAL_STEPS})",
    )
    train.add_argument(
        "--patch-side",
        type=positive_int,
        default=64,
        metavar="SIDE",
        help="of the small picture's patches in pixels; the large picture's are --scale times as "
        "wide (64)",
    )
    add_run_options(train, "upscaler_NETWORK_xSCALE", steps=_STEPS, learning_rate=1e-3)
    add_precision(train)
    train.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> None:
    if arguments.perceptual_steps < 0:
        raise InvalidArgumentError(f"--perceptual-steps is {arguments.perceptual_steps}")
    config = upscaler_config(arguments.network, arguments.scale)
    start = Preset.find(arguments.start_from) if arguments.start_from else None
    from mm_face_stylizer.models.efficientnet_lite import perceptual_network
    from mm_face_stylizer.training.srresnet.patches import Patches, PictureFolder
    from mm_face_stylizer.training.srresnet.release import calibration_pictures, release_upscaler
    from mm_face_stylizer.training.srresnet.upscaler_training import (
        FEATURE_TAPS,
        UpscalerOptions,
        UpscalerStage,
        UpscalerTraining,
    )

    stages = [UpscalerStage(arguments.steps)]
    if arguments.perceptual_steps:
        stages.append(UpscalerStage(arguments.perceptual_steps, features=1.0, texture=0.05))
    options = UpscalerOptions(
        config=config,
        stages=tuple(stages),
        pixel_loss=arguments.loss,
        patch_side=arguments.patch_side,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        conv_dtype=arguments.conv_dtype,
    )
    request = read_run_request(arguments, f"upscaler_{arguments.network}_x{config.scale}")
    provenance = request.provenance(start.card if start else None)
    features = perceptual_network(FEATURE_TAPS) if arguments.perceptual_steps else None
    side = options.large_side
    folders = [PictureFolder(arguments.data, request.output / "cache" / "portraits", side)]
    if arguments.drawings is not None:
        folders.append(
            PictureFolder(arguments.drawings, request.output / "cache" / "drawings", side)
        )
    patches = Patches(folders, side)
    run = UpscalerTraining(
        options, patches, request.output, features, start.weights() if start else None
    )

    def release() -> None:
        calibration = calibration_pictures(config.image_size)
        folder = request.result_folder
        release_upscaler(run, patches, provenance, folder, features, calibration)

    request.train(run, release)
