"""The commands of translators: train, search, export."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.models.translator.config import (
    CONFIGURATIONS,
    TranslatorConfig,
    translator_config,
)
from mm_face_stylizer.painting.choices import PAINTERS
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.command_options import (
    add_distribution,
    add_precision,
    add_run_options,
    read_run_request,
)
from task_bundle.command_files import check_input_files, check_output_files
from task_bundle.command_line import (
    add_face_landmarker,
    add_overwrite,
    positive_int,
    positive_number,
)

if TYPE_CHECKING:
    from mm_face_stylizer.training.translator.stylized import Teacher

_STEPS = 60_000
_FAMILY = "translator"
_NETWORK = "mobile"
_SEARCH_STEPS = 4000


def add_translator(commands) -> None:
    """Adds `translator train`, `translator search` and `translator export`.

    Args:
      commands: What `ArgumentParser.add_subparsers` returned.
    """
    translator = commands.add_parser(
        "translator",
        help="train a stylizer from two folders without pairs, for a latency",
        description="Trains stylizers from a folder of photos and a folder of pictures of a style, "
        "searches for the network that a latency allows, and exports bundles.",
    )
    actions = translator.add_subparsers()
    _add_train(actions)
    _add_search(actions)
    _add_export(actions)


def _add_train(actions) -> None:
    train = actions.add_parser(
        "train",
        help="train a translator",
        description="Trains a translator and writes it as a preset into the run's folder. Run it "
        "again to resume after an interruption.",
    )
    train.add_argument(
        "--start-from",
        metavar="PRESET",
        help="start from this translator, which decides the network: what `search` found, or a "
        "smaller --image-size",
    )
    _add_training(train)
    train.set_defaults(run=_train)


def _add_search(actions) -> None:
    search = actions.add_parser(
        "search",
        help="search for the translator that a latency allows",
        description="Trains the largest network, then switches off channels and blocks until the "
        "latency is met, trains what is left, and writes it as a preset into the run's folder. Run "
        "it again to resume after an interruption.",
    )
    search.add_argument(
        "--table",
        required=True,
        type=pathlib.Path,
        metavar="X.json",
        help="latencies of the device, from `benchmark operators`",
    )
    search.add_argument(
        "--latency", required=True, type=positive_number, metavar="MS", help="in milliseconds"
    )
    search.add_argument(
        "--device",
        metavar="NAME",
        help="device that the table must be of (this computer)",
    )
    search.add_argument(
        "--search-steps",
        type=positive_int,
        default=_SEARCH_STEPS,
        metavar="N",
        help=f"steps in which channels and blocks are chosen ({_SEARCH_STEPS})",
    )
    search.add_argument(
        "--search-after",
        type=int,
        metavar="N",
        help="step at which the search begins; before it the largest network is trained (a third "
        "of all steps)",
    )
    search.add_argument(
        "--only", choices=("width", "depth"), help="search widths alone, or depth alone"
    )
    _add_training(search)
    search.set_defaults(run=_search)


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--style", required=True, type=pathlib.Path, metavar="DIR", help="pictures of the style"
    )
    command.add_argument(
        "--align",
        action="store_true",
        help="crop the largest face of each picture first, and leave out pictures without one; "
        "without it, pictures must be face crops of one size",
    )
    command.add_argument(
        "--network",
        choices=CONFIGURATIONS,
        default=_NETWORK,
        help=f"the generators of CycleGAN, or smaller ones ({_NETWORK})",
    )
    command.add_argument(
        "--image-size", type=positive_int, default=256, metavar="SIDE", help="in pixels (256)"
    )
    losses = command.add_argument_group("losses")
    losses.add_argument(
        "--identity",
        choices=("perceptual", "l1"),
        default="perceptual",
        help="distance of pictures that should not change: of features of EfficientNet-Lite0, or "
        "of the face mesh without the extra `perceptual`; or of pixels (perceptual)",
    )
    losses.add_argument(
        "--pool", type=int, default=50, metavar="N", help="earlier results to judge again (50)"
    )
    losses.add_argument(
        "--no-activation",
        action="store_true",
        help="without class-activation attention and its loss",
    )
    losses.add_argument(
        "--discriminator-width",
        type=positive_int,
        default=64,
        metavar="N",
        help="channels of the discriminators' first layer (64)",
    )
    taught = command.add_argument_group(
        "distillation",
        "Photos are stylized by a bundle, and for all --steps the translator learns to do the "
        "same.",
    )
    taught.add_argument(
        "--teacher",
        type=pathlib.Path,
        metavar="X.task",
        help="learn from this bundle's pictures of the photos, instead of paintings and unpaired "
        "training",
    )
    taught.add_argument(
        "--taught-photos", type=positive_int, default=2000, metavar="N", help="to stylize (2000)"
    )
    warm = command.add_argument_group(
        "warm start",
        "Photos are painted after pictures of the style, and the translator learns that first. "
        "The last three options hold for --teacher, too.",
    )
    warm.add_argument(
        "--paintings", type=int, default=0, metavar="N", help="steps from paintings (0)"
    )
    warm.add_argument(
        "--paintings-only",
        action="store_true",
        help="end after these steps, without unpaired training",
    )
    warm.add_argument(
        "--painter",
        choices=PAINTERS,
        default=PAINTERS[0],
        help="patches of the style, or for styles without texture the parts of the face drawn in "
        "the style's colors (patches)",
    )
    warm.add_argument(
        "--painted-photos", type=positive_int, default=600, metavar="N", help="to paint (600)"
    )
    warm.add_argument(
        "--painted-after",
        type=positive_int,
        default=24,
        metavar="N",
        help="pictures of the style to choose from (24)",
    )
    warm.add_argument(
        "--paintings-batch", type=positive_int, default=8, metavar="N", help="pairs a step (8)"
    )
    warm.add_argument(
        "--paintings-rate",
        type=positive_number,
        default=5.0,
        metavar="X",
        help="factor on the learning rate (5)",
    )
    warm.add_argument(
        "--paintings-adversarial",
        type=float,
        default=0.0,
        metavar="X",
        help="weight of the adversarial loss beside the paintings (0)",
    )
    add_run_options(
        command,
        "translator_NETWORK",
        steps=_STEPS,
        learning_rate=2e-4,
        batch_size=1,
        data=("--photos", "photos of faces"),
    )
    add_distribution(command)
    add_precision(command)
    add_face_landmarker(command, "take the face models from this bundle")


def _add_export(actions) -> None:
    export = actions.add_parser(
        "export",
        help="write the bundle of a translator",
        description="Writes a .task bundle of a translator, which opens wherever a stylizer does.",
    )
    export.add_argument("preset", metavar="PRESET", help="what `train` or `search` wrote")
    export.add_argument("-o", "--output", required=True, type=pathlib.Path, metavar="X.task")
    export.add_argument(
        "--precision",
        choices=("float16", "float32", "int8"),
        default="float16",
        help="of the weights; input and output are float32 always (float16)",
    )
    export.add_argument(
        "--image-size",
        type=positive_int,
        metavar="SIDE",
        help="side of the pictures in pixels (that of the training)",
    )
    add_face_landmarker(export)
    add_overwrite(export)
    export.set_defaults(run=_export)


def _train(arguments: argparse.Namespace) -> None:
    start = _translator(arguments.start_from) if arguments.start_from else None
    config = _config(arguments) if start is None else start.config()
    config = dataclasses.replace(config, image_size=arguments.image_size)
    request = read_run_request(arguments, f"translator_{arguments.network}")
    provenance = request.provenance(start.card if start else None)
    with request.replicas():
        from mm_face_stylizer.training.translator.release import release_translator
        from mm_face_stylizer.training.translator.translator_training import TranslatorTraining

        options, domains, features, paintings = _inputs(arguments, config, request)
        run = TranslatorTraining(
            options,
            domains,
            request.output,
            features,
            paintings,
            start.weights() if start else None,
        )
        request.train(
            run,
            lambda: release_translator(
                run, domains, provenance, request.result_folder, request.face_models()
            ),
        )


def _search(arguments: argparse.Namespace) -> None:
    from mm_face_stylizer.training.translator.latency_table import LatencyTable, this_device

    config = _config(arguments)
    table = LatencyTable.load(arguments.table)
    wanted = arguments.device or this_device()
    if table.device != wanted:
        raise InvalidArgumentError(
            f"{arguments.table} was measured on {table.device!r}, not on {wanted!r}; measure that "
            "one with `benchmark operators`, or search for the other with --device"
        )
    table.check_covers(config, str(arguments.table))
    request = read_run_request(arguments, "translator_found")
    provenance = request.provenance()
    with request.replicas():
        from mm_face_stylizer.training.translator.latency_predictor import LatencyPredictor
        from mm_face_stylizer.training.translator.release import release_translator
        from mm_face_stylizer.training.translator.translator_search import (
            SearchOptions,
            TranslatorSearch,
            check_target,
        )

        predictor = LatencyPredictor(table)
        searched = arguments.only or "both"
        # Before anything is decoded or painted.
        check_target(config, predictor, arguments.latency, searched)
        options, domains, features, paintings = _inputs(arguments, config, request)
        total = sum(stage.steps for stage in options.stages)
        first = arguments.search_after
        search = SearchOptions(
            milliseconds=arguments.latency,
            first_step=total // 3 if first is None else first,
            steps=arguments.search_steps,
            searched=searched,
        )
        if search.last_step > total:
            raise InvalidArgumentError(
                f"the search ends at step {search.last_step}, the training at {total}; give more "
                "--steps, or fewer --search-steps"
            )
        run = TranslatorSearch(
            options, search, predictor, domains, request.output, features, paintings
        )

        def release():
            further: dict[str, Any] = {
                "search": dataclasses.asdict(search)
                | {"device": table.device, "predicted_milliseconds": round(run.milliseconds, 3)}
            }
            folder, face_models = request.result_folder, request.face_models()
            release_translator(run, domains, provenance, folder, face_models, further)

        request.train(run, release)


def _export(arguments: argparse.Namespace) -> None:
    check_input_files(arguments.face_landmarker)
    preset = _translator(arguments.preset)
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    config = preset.config()
    if arguments.image_size is not None:
        config = dataclasses.replace(config, image_size=arguments.image_size)
    from mm_face_stylizer.export import export_stylizer
    from mm_face_stylizer.models.translator.networks import TranslatorNetworks
    from task_bundle.bundle import TaskBundle
    from task_bundle.faces.face_models import find_face_models

    face_models = find_face_models(arguments.face_landmarker)
    networks = preset.filled(lambda **_: config, TranslatorNetworks)
    stylizer = export_stylizer(networks, arguments.precision)
    TaskBundle.build(stylizer, face_models).save(arguments.output, overwrite=arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")


def _translator(name: str) -> Preset:
    preset = Preset.find(name)
    if preset.card.get("family") != _FAMILY:
        raise InvalidArgumentError(
            f"{name} is no translator; `translator train` and `translator search` write one"
        )
    return preset


def _teacher(arguments: argparse.Namespace) -> Teacher | None:
    if arguments.teacher is None:
        return None
    from mm_face_stylizer.training.translator.stylized import Teacher

    return Teacher(arguments.teacher)


def _config(arguments: argparse.Namespace) -> TranslatorConfig:
    config = translator_config(arguments.network, arguments.image_size)
    return dataclasses.replace(config, attention=None) if arguments.no_activation else config


def _inputs(arguments: argparse.Namespace, config: TranslatorConfig, request) -> tuple:
    """Makes the options, the pictures, the feature network and the paintings of a training."""
    if arguments.paintings_only and not arguments.paintings:
        raise InvalidArgumentError("--paintings-only needs --paintings, the number of steps")
    if arguments.teacher and arguments.paintings:
        raise InvalidArgumentError(
            "--paintings and --teacher are both given; pairs come from the one or from the other"
        )
    teacher = _teacher(arguments)
    paired = arguments.steps if teacher else arguments.paintings
    steps = 0 if arguments.paintings_only or teacher else arguments.steps
    for option, value in (("--paintings", arguments.paintings), ("--pool", arguments.pool)):
        if value < 0:
            raise InvalidArgumentError(f"{option} is {value}; it must not be negative")
    from mm_face_stylizer.training.translator.domains import Domains
    from mm_face_stylizer.training.translator.features import perceptual_features
    from mm_face_stylizer.training.translator.paintings import Paintings
    from mm_face_stylizer.training.translator.stylized import Stylized
    from mm_face_stylizer.training.translator.translator_training import (
        TranslatorOptions,
        TranslatorStage,
    )

    stages = []
    if paired:
        stages.append(
            TranslatorStage.from_paintings(
                paired,
                arguments.paintings_batch,
                arguments.paintings_rate,
                backward=bool(steps),
                adversarial=arguments.paintings_adversarial,
            )
        )
    if steps:
        stages.append(TranslatorStage(steps, arguments.batch_size))
    options = TranslatorOptions(
        config=config,
        stages=tuple(stages),
        identity_loss=arguments.identity,
        pool_size=arguments.pool,
        discriminator_width=arguments.discriminator_width,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        conv_dtype=arguments.conv_dtype,
    )
    face_models = request.face_models()
    cache = request.output / "cache"
    from mm_face_stylizer.training.distribution import Distribution

    with Distribution.current().chief_first():
        domains = Domains(
            arguments.data,
            arguments.style,
            cache,
            config.image_size,
            align=arguments.align,
            face_models=face_models,
            # A teacher sees whole crops, and a part of its picture is not one of a part. Paintings
            # are of the size that is asked for, unless unpaired training follows.
            crops=bool(steps),
        )
        paintings = None
        if teacher is not None:
            paintings = Stylized(
                domains,
                teacher,
                cache / "stylized",
                people=arguments.taught_photos,
                seed=arguments.seed,
                face_models=face_models,
            )
        elif arguments.paintings:
            paintings = Paintings(
                domains,
                cache / "paintings",
                people=arguments.painted_photos,
                style_pictures=arguments.painted_after,
                seed=arguments.seed,
                face_models=face_models,
                painter=arguments.painter,
            )
    needs_features = paintings is not None or arguments.identity == "perceptual"
    features = perceptual_features(face_models) if needs_features else None
    return options, domains, features, paintings
