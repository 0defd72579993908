"""Long trainings as commands: the published recipe, and that of the face prior."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Callable

from mm_face_stylizer.commit import running_commit
from mm_face_stylizer.preset import DEFAULT_PRESET

_PROGRAM = "mm-face-stylizer"


def add_recipe(commands) -> None:
    """Adds the commands to a parser's sub-commands."""
    _add_prior(commands)
    _add_teacher(commands)
    _add_distill(commands)
    _add_invert(commands)


def _add_prior(commands) -> None:
    prior = commands.add_parser(
        "pretrain-prior",
        help="train what draws the faces that few-shot training practises on",
        description="Trains the face prior of a preset on its encoder's latents of a folder of "
        "aligned portraits, and writes the preset with it. Run it again to resume after an "
        "interruption.",
    )
    prior.add_argument(
        "--start-from",
        default=DEFAULT_PRESET,
        metavar="PRESET",
        help=f"the preset, a name or a folder ({DEFAULT_PRESET})",
    )
    _add_run(prior, DEFAULT_PRESET, steps=4000, rate=2e-3, batch=32)
    prior.set_defaults(run=_pretrain_prior)


def _add_teacher(commands) -> None:
    teacher = commands.add_parser(
        "pretrain-teacher",
        help="published recipe, 1 of 3: train a StyleGAN2 teacher on portraits",
        description="Trains a StyleGAN2 on a folder of aligned portraits, with adaptive "
        "discriminator augmentation, and writes it into the run's folder. Run it again to resume "
        "after an interruption.",
    )
    _add_run(teacher, "teacher", steps=50_000, rate=2e-3)
    add_distribution(teacher)
    _add_networks(teacher)
    teacher.set_defaults(run=_pretrain_teacher)


def _add_distill(commands) -> None:
    distill = commands.add_parser(
        "distill",
        help="published recipe, 2 of 3: distil the teacher into a BlazeStyleGAN",
        description="Trains a BlazeStyleGAN to draw what the teacher draws and writes it as a "
        "preset without an encoder. Run it again to resume after an interruption.",
    )
    distill.add_argument(
        "--teacher",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="what pretrain-teacher wrote",
    )
    _add_run(distill, "student", steps=20_000, rate=1.5e-3)
    add_distribution(distill)
    _add_networks(distill)
    distill.add_argument(
        "--truncation",
        type=float,
        default=1.0,
        help="how far from the mean the teacher's faces lie, 0 to 1 (1)",
    )
    distill.add_argument(
        "--reweighting",
        type=float,
        default=0.0,
        metavar="X",
        help="the teacher's good pictures count more than its bad ones: by exp(X * logit) of its "
        "discriminator (0)",
    )
    add_landmarker(distill)
    distill.set_defaults(run=_distill)


def _add_invert(commands) -> None:
    invert = commands.add_parser(
        "invert",
        help="published recipe, 3 of 3: train the encoder of a distilled student",
        description="Trains an encoder for a preset whose synthesis network stays as it is, and "
        "writes the whole preset. Run it again to resume after an interruption.",
    )
    invert.add_argument(
        "--start-from",
        required=True,
        metavar="PRESET",
        help="what distill wrote, or any preset: a folder or a name",
    )
    _add_run(invert, "blaze_face_stylizer", steps=None, rate=1.5e-3)
    add_distribution(invert)
    invert.add_argument(
        "--refine", action="store_true", help="train the synthesis network too, in a last stage"
    )
    invert.add_argument(
        "--spatial-sides",
        type=int,
        nargs="*",
        default=None,
        metavar="SIDE",
        help="sides of spatial latents, which the published network has not (those of PRESET)",
    )
    add_landmarker(invert)
    invert.set_defaults(run=_invert)


def add_portraits(command: argparse.ArgumentParser) -> None:
    """Adds what every training has: the portraits, where they are from, the run's folder."""
    command.add_argument(
        "--data", required=True, type=pathlib.Path, metavar="DIR", help="aligned portraits"
    )
    command.add_argument(
        "--data-list", type=pathlib.Path, metavar="CSV", help="columns file, source, licence"
    )
    command.add_argument(
        "--output", required=True, type=pathlib.Path, metavar="DIR", help="folder of the run"
    )


def add_distribution(command: argparse.ArgumentParser) -> None:
    """Adds the choice of the devices and machines that a training runs on."""
    command.add_argument(
        "--distribution",
        choices=("off", "mirrored", "multi-worker-mirrored"),
        default="off",
        help="share each batch among the GPUs of this machine, or among the machines that the "
        "environment variable TF_CONFIG lists, on each of which the same command runs (off)",
    )


def _add_run(
    command: argparse.ArgumentParser, name: str, steps: int | None, rate: float, batch: int = 16
) -> None:
    """Options that every long training has."""
    add_portraits(command)
    command.add_argument("--name", default=name, help=f"name of the result ({name})")
    command.add_argument(
        "--steps",
        type=_positive,
        default=steps,
        metavar="N",
        help=f"training steps ({'those of the stages' if steps is None else steps})",
    )
    command.add_argument(
        "--batch-size",
        type=_positive,
        default=batch,
        metavar="N",
        help=f"pictures a step ({batch})",
    )
    command.add_argument(
        "--learning-rate", type=float, default=rate, metavar="X", help=f"of Adam ({rate})"
    )
    command.add_argument("--seed", type=int, default=0)


def _add_networks(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--image-size", type=int, default=256, metavar="SIDE", help="in pixels (256)"
    )
    command.add_argument(
        "--width",
        type=float,
        default=1.0,
        metavar="X",
        help="factor on the channels; 1 is the published network (1)",
    )
    command.add_argument(
        "--bfloat16",
        action="store_true",
        help="convolve in bfloat16: faster where the processor can (AVX512-BF16, AMX)",
    )


def add_landmarker(command: argparse.ArgumentParser) -> None:
    """Adds the choice of the perceptual loss's face mesh."""
    command.add_argument(
        "--face-landmarker",
        type=pathlib.Path,
        metavar="X.task",
        help="take the face mesh of the perceptual loss from this bundle",
    )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def _pretrain_prior(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.preset import Preset
    from mm_face_stylizer.training.prior_training import PriorOptions, PriorStage, PriorTraining
    from mm_face_stylizer.training.release import release_prior

    options = PriorOptions(
        PriorStage(arguments.steps),
        arguments.batch_size,
        arguments.learning_rate,
        arguments.seed,
    )
    start = Preset.find(arguments.start_from)
    networks = start.networks()
    portraits = portraits_of(arguments, networks.config.image_size)
    provenance = _provenance(arguments)
    run = PriorTraining(options, networks, portraits, arguments.output)
    folder = arguments.output / arguments.name
    finish(run, folder, lambda: release_prior(run, start, portraits, provenance, folder))


def _pretrain_teacher(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.release import release_teacher
    from mm_face_stylizer.training.teacher import TeacherOptions, TeacherTraining

    # Before the portraits are decoded: a wrong number is found out at once.
    options = TeacherOptions(**_network_options(arguments))
    provenance = _provenance(arguments)
    with replicas(arguments):
        portraits = portraits_of(arguments, options.image_size)
        run = TeacherTraining(options, portraits, arguments.output)
    folder = arguments.output / arguments.name
    finish(run, folder, lambda: release_teacher(run, portraits, provenance, folder))


def _distill(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.preset import Preset
    from mm_face_stylizer.training.distillation import Distillation, DistillationOptions
    from mm_face_stylizer.training.release import release_student
    from mm_face_stylizer.training.teacher_networks import Teacher

    options = DistillationOptions(
        **_network_options(arguments),
        truncation=arguments.truncation,
        reweighting=arguments.reweighting,
    )
    with replicas(arguments):
        teacher = Teacher.load(arguments.teacher)
        mesh, _ = _face_mesh(arguments)
        portraits = portraits_of(arguments, options.image_size)
        run = Distillation(options, teacher, portraits, mesh, arguments.output)
    provenance = _provenance(arguments, Preset.find(arguments.teacher).card)
    folder = arguments.output / arguments.name
    finish(run, folder, lambda: release_student(run, portraits, provenance, folder))


def _invert(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.preset import Preset
    from mm_face_stylizer.training.inversion import (
        FROZEN_STAGES,
        JOINT_STAGES,
        Inversion,
        InversionOptions,
    )
    from mm_face_stylizer.training.release import release

    stages = JOINT_STAGES if arguments.refine else FROZEN_STAGES
    if arguments.steps is not None:
        total = sum(stage.steps for stage in stages)
        stages = tuple(
            dataclasses.replace(stage, steps=max(1, stage.steps * arguments.steps // total))
            for stage in stages
        )
    options = InversionOptions(
        stages, arguments.batch_size, arguments.learning_rate, arguments.seed
    )
    start = Preset.find(arguments.start_from)
    with replicas(arguments):
        networks = start.networks()
        if arguments.spatial_sides is not None:
            networks = networks.with_spatial_latents(arguments.spatial_sides)
        mesh, face_models = _face_mesh(arguments)
        portraits = portraits_of(arguments, networks.config.image_size)
        run = Inversion(options, networks, portraits, mesh, arguments.output)
    provenance = _provenance(arguments, start.card)
    folder = arguments.output / arguments.name
    finish(
        run,
        folder,
        lambda: release(run, portraits, provenance, folder, face_models, mapping_rounds=0),
    )


def _network_options(arguments: argparse.Namespace) -> dict:
    return {
        "image_size": arguments.image_size,
        "width": arguments.width,
        "batch_size": arguments.batch_size,
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "seed": arguments.seed,
        "conv_dtype": "bfloat16" if arguments.bfloat16 else "float32",
    }


def replicas(arguments: argparse.Namespace):
    """The scope of the replicas that were chosen, in which a training is to be built.

    To be entered before TensorFlow does anything else.
    """
    from mm_face_stylizer.training.distribution import Distribution

    return Distribution.named(arguments.distribution.replace("-", "_")).scope()


def portraits_of(arguments: argparse.Namespace, side: int):
    """The portraits, which other workers find decoded if the chief's folder is theirs too."""
    from mm_face_stylizer.training.distribution import Distribution
    from mm_face_stylizer.training.portraits import Portraits

    with Distribution.current().chief_first():
        return Portraits(arguments.data, arguments.output / "cache", side)


def finish(run, folder: pathlib.Path, release: Callable[[], object]) -> None:
    """Trains to the end.

    Args:
      run: A training.
      folder: Folder of the result, which is printed.
      release: Writes the result; of several workers, only the chief's is called.
    """
    run.run()
    with run.distribution.chief_first():
        if run.distribution.is_chief:
            release()
            sys.stdout.write(f"{folder}\n")


def _face_mesh(arguments: argparse.Namespace):
    from mm_face_stylizer.models.perceptual import FaceMeshFeatures
    from task_bundle.face_models import find_face_models

    face_models = find_face_models(arguments.face_landmarker)
    return FaceMeshFeatures(face_models.landmarks), face_models


def _provenance(arguments: argparse.Namespace, start: dict | None = None):
    """What the card says; asked before the training, after which the checkout may be another."""
    from mm_face_stylizer.training.release import Provenance

    return Provenance(
        name=arguments.name,
        command=shlex.join([_PROGRAM, *sys.argv[1:]]),
        commit=running_commit(),
        data_list=arguments.data_list,
        start=start,
    )
