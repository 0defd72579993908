"""The commands of long trainings: this project's recipe for presets, and the published one."""

from __future__ import annotations

import argparse
import functools
import pathlib

from mm_face_stylizer.preset import DEFAULT_PRESET, Preset
from mm_face_stylizer.training.command_options import (
    add_distribution,
    add_networks,
    add_perceptual_landmarker,
    add_precision,
    add_run_options,
    read_network_options,
    read_run_request,
)
from task_bundle.command_line import fraction, positive_int


def add_recipe(commands) -> None:
    """Adds the training commands of this family.

    Args:
      commands: What `ArgumentParser.add_subparsers` returned.
    """
    _add_pretrain(commands)
    _add_prior(commands)
    _add_drawing(commands)
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
        help="start from this preset, a name or a folder, with the shorter refinement schedule",
    )
    pretrain.add_argument(
        "--image-size",
        type=int,
        metavar="SIDE",
        help="in pixels (that of PRESET, or 256); twice that of PRESET: its encoder and coarser "
        "blocks are kept, and the blocks that draw the finer pixels are trained",
    )
    pretrain.add_argument(
        "--sharpen",
        action="store_true",
        help="keep PRESET's encoder and coarser blocks, and train the finer ones for fine detail",
    )
    pretrain.add_argument(
        "--strength",
        type=fraction,
        default=1.0,
        metavar="S",
        help="with --sharpen: how much of the change the new preset takes over, from 0, "
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
    add_run_options(
        pretrain, "blaze_face_stylizer_SIDE", "those of the schedule", schedule, schedule
    )
    add_distribution(pretrain)
    add_perceptual_landmarker(pretrain)
    add_precision(pretrain)
    pretrain.set_defaults(run=_pretrain)


def _add_prior(commands) -> None:
    prior = commands.add_parser(
        "pretrain-prior",
        help="train the face prior, which generates the faces of few-shot training",
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
    add_run_options(prior, "that of PRESET", steps=7000, learning_rate=1e-3, batch_size=32)
    prior.set_defaults(run=_pretrain_prior)


def _add_drawing(commands) -> None:
    drawing = commands.add_parser(
        "pretrain-drawing",
        help="teach a preset to draw in many styles",
        description="Paints portraits in many styles, trains a synthesis network on the paintings "
        "beside the preset's own, and adds it to the preset. Run it again to resume after an "
        "interruption.",
    )
    drawing.add_argument(
        "--start-from",
        default=DEFAULT_PRESET,
        metavar="PRESET",
        help=f"the preset, a name or a folder ({DEFAULT_PRESET})",
    )
    drawing.add_argument(
        "--styles",
        required=True,
        type=pathlib.Path,
        metavar="DIR",
        help="style pictures, each with a face",
    )
    drawing.add_argument(
        "--style-list",
        required=True,
        type=pathlib.Path,
        metavar="CSV",
        help="columns file and set: the first picture of a set shows how to paint, further ones "
        "add their colors if the style is flat",
    )
    drawing.add_argument(
        "--people",
        type=positive_int,
        default=480,
        metavar="N",
        help="people that are painted (480)",
    )
    drawing.add_argument(
        "--paintings",
        type=positive_int,
        default=24,
        metavar="N",
        help="paintings of each style (24)",
    )
    add_run_options(drawing, "that of PRESET", steps=10_000, learning_rate=2e-3, batch_size=6)
    add_precision(drawing)
    add_perceptual_landmarker(drawing)
    drawing.set_defaults(run=_pretrain_drawing)


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
        help="start from what pretrain-teacher wrote, of the same --width and at most the "
        "--image-size: small pictures first, at a fraction of the time",
    )
    add_run_options(teacher, "teacher", steps=50_000, learning_rate=2e-3)
    add_distribution(teacher)
    add_networks(teacher)
    teacher.set_defaults(run=_pretrain_teacher)


def _add_distill(commands) -> None:
    distill = commands.add_parser(
        "distill",
        help="published recipe, 2 of 3: distill the teacher into a BlazeStyleGAN",
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
    add_run_options(distill, "student", steps=20_000, learning_rate=1.5e-3)
    add_distribution(distill)
    add_networks(distill)
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
    add_perceptual_landmarker(distill)
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
    add_run_options(
        invert, "blaze_face_stylizer", steps="those of the stages", learning_rate=1.5e-3
    )
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
        help="sides of spatial latents, none in the published network (those of PRESET)",
    )
    add_perceptual_landmarker(invert)
    invert.set_defaults(run=_invert)


def _pretrain(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
    from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining, starting_networks
    from mm_face_stylizer.training.blaze_stylegan.release import release
    from mm_face_stylizer.training.blaze_stylegan.schedules import (
        PretrainingRequest,
        pretraining_options,
    )

    sides = arguments.spatial_sides
    pretraining = PretrainingRequest(
        start_from=arguments.start_from,
        image_size=arguments.image_size,
        spatial_sides=None if sides is None else tuple(sides),
        sharpen=arguments.sharpen,
        strength=arguments.strength,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        conv_dtype=arguments.conv_dtype,
    )
    start = Preset.find(pretraining.start_from) if pretraining.start_from else None
    options = pretraining_options(pretraining, start.config() if start else None)
    request = read_run_request(arguments, f"blaze_face_stylizer_{options.image_size}")
    provenance = request.provenance(start.card if start else None)
    with request.replicas():
        networks = starting_networks(start.networks(), options) if start else None
        face_models = request.face_models()
        portraits = request.portraits(options.image_size)
        face_mesh = FaceMeshFeatures(face_models.landmarks)
        run = Pretraining(options, portraits, face_mesh, request.output, networks)
    finish = functools.partial(
        release, run, portraits, provenance, request.result_folder, face_models
    )
    if options.encoder_is_kept:
        # The latents of all portraits stay the same, and so do the mapping network and the face
        # prior, which are fitted to latents.
        finish = functools.partial(
            finish,
            mapping_rounds=0,
            fit_prior=False,
            start=networks,
            strength=pretraining.strength,
        )
    request.train(run, finish)


def _pretrain_prior(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.blaze_stylegan.prior_training import (
        PriorOptions,
        PriorStage,
        PriorTraining,
    )
    from mm_face_stylizer.training.blaze_stylegan.release import release_prior

    options = PriorOptions(
        stage=PriorStage(arguments.steps),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    start = Preset.find(arguments.start_from)
    request = read_run_request(arguments, start.card["name"])
    provenance = request.provenance()
    networks = start.networks()
    portraits = request.portraits(networks.config.image_size)
    run = PriorTraining(options, networks, portraits, request.output)
    request.train(
        run, lambda: release_prior(run, start, portraits, provenance, request.result_folder)
    )


def _pretrain_drawing(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.models.efficientnet_lite import perceptual_network
    from mm_face_stylizer.training.blaze_stylegan.drawing_training import (
        FEATURE_TAPS,
        DrawingOptions,
        DrawingStage,
        DrawingTraining,
    )
    from mm_face_stylizer.training.blaze_stylegan.painted_pairs import (
        PaintedPairs,
        read_style_list,
    )
    from mm_face_stylizer.training.blaze_stylegan.release import release_drawing

    options = DrawingOptions(
        stage=DrawingStage(arguments.steps),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        conv_dtype=arguments.conv_dtype,
    )
    styles = read_style_list(arguments.style_list, arguments.styles)
    start = Preset.find(arguments.start_from)
    request = read_run_request(arguments, start.card["name"])
    provenance = request.provenance()
    features = perceptual_network(FEATURE_TAPS)
    portraits = request.portraits(start.image_size)
    pairs = PaintedPairs.paint(
        styles,
        portraits,
        request.face_models(),
        request.output / "paintings",
        arguments.people,
        arguments.paintings,
        arguments.seed,
    )
    run = DrawingTraining(options, start.networks(), pairs, request.output, features)
    request.train(
        run,
        lambda: release_drawing(
            run, start, provenance, arguments.style_list, request.result_folder
        ),
    )


def _pretrain_teacher(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.models.stylegan.networks import Teacher
    from mm_face_stylizer.training.blaze_stylegan.release import release_teacher
    from mm_face_stylizer.training.blaze_stylegan.teacher import TeacherOptions, TeacherTraining

    # The options come first, so that a wrong number is reported before the portraits are decoded.
    options = TeacherOptions(**read_network_options(arguments))
    start = Preset.find(arguments.start_from) if arguments.start_from else None
    request = read_run_request(arguments, "teacher")
    provenance = request.provenance(start.card if start else None)
    with request.replicas():
        teacher = Teacher.load(start.folder) if start else None
        portraits = request.portraits(options.image_size)
        run = TeacherTraining(options, portraits, request.output, teacher)
    request.train(run, lambda: release_teacher(run, portraits, provenance, request.result_folder))


def _distill(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
    from mm_face_stylizer.models.stylegan.networks import Teacher
    from mm_face_stylizer.training.blaze_stylegan.distillation import (
        Distillation,
        DistillationOptions,
    )
    from mm_face_stylizer.training.blaze_stylegan.release import release_student

    options = DistillationOptions(
        **read_network_options(arguments),
        truncation=arguments.truncation,
        reweighting=arguments.reweighting,
    )
    start = Preset.find(arguments.teacher)
    request = read_run_request(arguments, "student")
    provenance = request.provenance(start.card)
    with request.replicas():
        teacher = Teacher.load(start.folder)
        face_mesh = FaceMeshFeatures(request.face_models().landmarks)
        portraits = request.portraits(options.image_size)
        run = Distillation(options, teacher, portraits, face_mesh, request.output)
    request.train(run, lambda: release_student(run, portraits, provenance, request.result_folder))


def _invert(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
    from mm_face_stylizer.training.blaze_stylegan.inversion import (
        FROZEN_STAGES,
        JOINT_STAGES,
        Inversion,
        InversionOptions,
    )
    from mm_face_stylizer.training.blaze_stylegan.release import release
    from mm_face_stylizer.training.blaze_stylegan.schedules import shortened

    options = InversionOptions(
        stages=shortened(JOINT_STAGES if arguments.refine else FROZEN_STAGES, arguments.steps),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    start = Preset.find(arguments.start_from)
    request = read_run_request(arguments, "blaze_face_stylizer")
    provenance = request.provenance(start.card)
    with request.replicas():
        networks = start.networks()
        if arguments.spatial_sides is not None:
            networks = networks.with_spatial_latents(arguments.spatial_sides)
        face_models = request.face_models()
        portraits = request.portraits(networks.config.image_size)
        face_mesh = FaceMeshFeatures(face_models.landmarks)
        run = Inversion(options, networks, portraits, face_mesh, request.output)
    request.train(
        run,
        # The mapping network and `w_avg` of the student are kept.
        lambda: release(
            run, portraits, provenance, request.result_folder, face_models, mapping_rounds=0
        ),
    )
