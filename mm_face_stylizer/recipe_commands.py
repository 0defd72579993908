"""Long trainings as commands: this project's recipe for presets, and the published one."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Callable

from mm_face_stylizer.commit import running_commit
from mm_face_stylizer.preset import DEFAULT_PRESET, Preset

_PROGRAM = "mm-face-stylizer"


def add_recipe(commands) -> None:
    """Adds the commands to a parser's sub-commands."""
    _add_pretrain(commands)
    _add_prior(commands)
    _add_teacher(commands)
    _add_distill(commands)
    _add_invert(commands)


def _add_pretrain(commands) -> None:
    pretrain = commands.add_parser(
        "pretrain",
        help="train a preset from portraits",
        description="Trains encoder, synthesis network, discriminator and mapping network from a "
        "folder of aligned portraits. Run it again to resume after an interruption.",
    )
    pretrain.add_argument(
        "--start-from",
        metavar="PRESET",
        help="go on from this preset, a name or a folder, with the shorter refining schedule",
    )
    pretrain.add_argument(
        "--image-size",
        type=int,
        metavar="SIDE",
        help="in pixels (that of PRESET, or 256); twice that of PRESET: its encoder and coarser "
        "blocks are kept, and what draws the finer pixels is trained",
    )
    pretrain.add_argument(
        "--sharpen",
        action="store_true",
        help="keep PRESET's encoder and coarser blocks, and train the finer ones for fine detail",
    )
    pretrain.add_argument(
        "--strength",
        type=_share,
        default=1.0,
        metavar="S",
        help="with --sharpen: how much of what was learned the new preset takes over, from 0, "
        "PRESET itself, to 1 (1)",
    )
    pretrain.add_argument(
        "--spatial-sides",
        type=int,
        nargs="*",
        metavar="SIDE",
        help="sides of the spatial latents (those of PRESET, or 8 16); none: the published "
        "configuration, all of a face goes through the w+ latent",
    )
    schedule = "that of the schedule"
    _add_run(pretrain, "blaze_face_stylizer_SIDE", "those of the schedule", schedule, schedule)
    _add_distribution(pretrain)
    _add_landmarker(pretrain)
    _add_precision(pretrain)
    pretrain.set_defaults(run=_pretrain, name=None)


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
    _add_run(prior, "that of PRESET", steps=7000, rate=1e-3, batch=32)
    prior.set_defaults(run=_pretrain_prior, name=None)


def _add_teacher(commands) -> None:
    teacher = commands.add_parser(
        "pretrain-teacher",
        help="published recipe, 1 of 3: train a StyleGAN2 teacher on portraits",
        description="Trains a StyleGAN2 on a folder of aligned portraits, with adaptive "
        "discriminator augmentation, and writes it into the run's folder. Run it again to resume "
        "after an interruption.",
    )
    teacher.add_argument(
        "--start-from",
        type=pathlib.Path,
        metavar="DIR",
        help="go on from what pretrain-teacher wrote, of the same --width and at most the "
        "--image-size: small pictures first, at a fraction of the time",
    )
    _add_run(teacher, "teacher", steps=50_000, rate=2e-3)
    _add_distribution(teacher)
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
    _add_distribution(distill)
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
    _add_landmarker(distill)
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
    _add_run(invert, "blaze_face_stylizer", steps="those of the stages", rate=1.5e-3)
    _add_distribution(invert)
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
    _add_landmarker(invert)
    invert.set_defaults(run=_invert)


def _add_distribution(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--distribution",
        choices=("off", "mirrored", "multi-worker-mirrored"),
        default="off",
        help="share each batch among the GPUs of this machine, or among the machines that the "
        "environment variable TF_CONFIG lists, on each of which the same command runs (off)",
    )


def _add_run(
    command: argparse.ArgumentParser,
    name: str,
    steps: int | str,
    rate: float | str,
    batch: int | str = 16,
) -> None:
    """Adds what every long training has; defaults that depend on others are told in words."""
    command.add_argument(
        "--data", required=True, type=pathlib.Path, metavar="DIR", help="aligned portraits"
    )
    command.add_argument(
        "--data-list", type=pathlib.Path, metavar="CSV", help="columns file, source, licence"
    )
    command.add_argument(
        "--output", required=True, type=pathlib.Path, metavar="DIR", help="folder of the run"
    )
    command.add_argument("--name", default=name, help=f"name of the result ({name})")
    numbers = (
        ("--steps", _positive, "N", "training steps", steps),
        ("--batch-size", _positive, "N", "pictures a step", batch),
        ("--learning-rate", _rate, "X", "of Adam", rate),
    )
    for option, kind, metavar, meaning, default in numbers:
        command.add_argument(
            option,
            type=kind,
            default=None if isinstance(default, str) else default,
            metavar=metavar,
            help=f"{meaning} ({default})",
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
    _add_precision(command)


def _add_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--bfloat16",
        action="store_const",
        dest="conv_dtype",
        const="bfloat16",
        default="float32",
        help="convolve in bfloat16: faster on processors that can (AVX512-BF16, AMX), on others "
        "several times slower",
    )


def _add_landmarker(command: argparse.ArgumentParser) -> None:
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


def _rate(text: str) -> float:
    return _number(text, lambda number: 0.0 < number < float("inf"), "above 0")


def _share(text: str) -> float:
    return _number(text, lambda number: 0.0 <= number <= 1.0, "from 0 to 1")


def _number(text: str, is_right: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not is_right(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")
    return number


def _pretrain(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.pretraining import Pretraining
    from mm_face_stylizer.training.release import release

    start = Preset.find(arguments.start_from) if arguments.start_from else None
    with _replicas(arguments):
        networks, options = _pretraining_options(arguments, start)
        mesh, face_models = _face_mesh(arguments)
        portraits = _portraits_of(arguments, options.image_size)
        run = Pretraining(options, portraits, mesh, arguments.output, networks)
    arguments.name = arguments.name or f"blaze_face_stylizer_{options.image_size}"
    provenance = _provenance(arguments, start.card if start else None)
    folder = arguments.output / arguments.name
    results = (run, portraits, provenance, folder, face_models)
    if options.encoder_is_kept:
        kept = {"start": networks, "strength": arguments.strength}
        _finish(run, folder, lambda: release(*results, mapping_rounds=0, fit_prior=False, **kept))
    else:
        _finish(run, folder, lambda: release(*results))


def _pretraining_options(arguments: argparse.Namespace, start: Preset | None):
    """Networks to start from, None if from nothing, and what the run depends on."""
    from mm_face_stylizer.networks import NetworksConfig
    from mm_face_stylizer.training import pretraining

    networks = start.networks() if start else None
    config = networks.config if networks else NetworksConfig()
    own = config.image_size
    size = _chosen(arguments.image_size, own)
    sides = tuple(_chosen(arguments.spatial_sides, config.spatial_sides))
    batch = pretraining.PretrainingOptions.batch_size
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
        stages, rate = pretraining.DEFAULT_STAGES, pretraining.PretrainingOptions.learning_rate
    elif arguments.sharpen:
        stages, rate = pretraining.SHARPENING_STAGES, pretraining.SHARPENING_RATE
    elif size == own:
        stages, rate = pretraining.REFINEMENT_STAGES, pretraining.REFINEMENT_RATE
        if set(config.spatial_sides) - set(sides):
            stages, rate = pretraining.FEWER_SPATIAL_STAGES, pretraining.FEWER_SPATIAL_RATE
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
        stages, rate = pretraining.GROWTH_STAGES, pretraining.GROWTH_RATE
        batch = pretraining.GROWTH_BATCH
    return networks, pretraining.PretrainingOptions(
        _shortened(pretraining.stages_for(stages, size), arguments.steps),
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


def _shortened(stages, steps: int | None):
    """The stages with their shares of a number of steps, or with their own for None."""
    if steps is None:
        return stages
    total = sum(stage.steps for stage in stages)
    return tuple(
        dataclasses.replace(stage, steps=max(1, stage.steps * steps // total)) for stage in stages
    )


def _pretrain_prior(arguments: argparse.Namespace) -> None:
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
    portraits = _portraits_of(arguments, networks.config.image_size)
    arguments.name = arguments.name or start.card["name"]
    provenance = _provenance(arguments)
    run = PriorTraining(options, networks, portraits, arguments.output)
    folder = arguments.output / arguments.name
    _finish(run, folder, lambda: release_prior(run, start, portraits, provenance, folder))


def _pretrain_teacher(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.release import release_teacher
    from mm_face_stylizer.training.teacher import TeacherOptions, TeacherTraining
    from mm_face_stylizer.training.teacher_networks import Teacher

    # Before the portraits are decoded: a wrong number is found out at once.
    options = TeacherOptions(**_network_options(arguments))
    start = Preset.find(arguments.start_from) if arguments.start_from else None
    provenance = _provenance(arguments, start.card if start else None)
    with _replicas(arguments):
        teacher = Teacher.load(start.folder) if start else None
        portraits = _portraits_of(arguments, options.image_size)
        run = TeacherTraining(options, portraits, arguments.output, teacher)
    folder = arguments.output / arguments.name
    _finish(run, folder, lambda: release_teacher(run, portraits, provenance, folder))


def _distill(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.distillation import Distillation, DistillationOptions
    from mm_face_stylizer.training.release import release_student
    from mm_face_stylizer.training.teacher_networks import Teacher

    options = DistillationOptions(
        **_network_options(arguments),
        truncation=arguments.truncation,
        reweighting=arguments.reweighting,
    )
    with _replicas(arguments):
        teacher = Teacher.load(arguments.teacher)
        mesh, _ = _face_mesh(arguments)
        portraits = _portraits_of(arguments, options.image_size)
        run = Distillation(options, teacher, portraits, mesh, arguments.output)
    provenance = _provenance(arguments, Preset.find(arguments.teacher).card)
    folder = arguments.output / arguments.name
    _finish(run, folder, lambda: release_student(run, portraits, provenance, folder))


def _invert(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.inversion import (
        FROZEN_STAGES,
        JOINT_STAGES,
        Inversion,
        InversionOptions,
    )
    from mm_face_stylizer.training.release import release

    stages = _shortened(JOINT_STAGES if arguments.refine else FROZEN_STAGES, arguments.steps)
    options = InversionOptions(
        stages, arguments.batch_size, arguments.learning_rate, arguments.seed
    )
    start = Preset.find(arguments.start_from)
    with _replicas(arguments):
        networks = start.networks()
        if arguments.spatial_sides is not None:
            networks = networks.with_spatial_latents(arguments.spatial_sides)
        mesh, face_models = _face_mesh(arguments)
        portraits = _portraits_of(arguments, networks.config.image_size)
        run = Inversion(options, networks, portraits, mesh, arguments.output)
    provenance = _provenance(arguments, start.card)
    folder = arguments.output / arguments.name
    _finish(
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
        "conv_dtype": arguments.conv_dtype,
    }


def _replicas(arguments: argparse.Namespace):
    """The scope of the replicas that were chosen, in which a training is to be built.

    To be entered before TensorFlow does anything else.
    """
    from mm_face_stylizer.training.distribution import Distribution

    return Distribution.named(arguments.distribution.replace("-", "_")).scope()


def _portraits_of(arguments: argparse.Namespace, side: int):
    """The portraits, which other workers find decoded if the chief's folder is theirs too."""
    from mm_face_stylizer.training.distribution import Distribution
    from mm_face_stylizer.training.portraits import Portraits

    with Distribution.current().chief_first():
        return Portraits(arguments.data, arguments.output / "cache", side)


def _finish(run, folder: pathlib.Path, release: Callable[[], object]) -> None:
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
