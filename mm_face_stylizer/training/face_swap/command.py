"""The command that trains face swapping."""

from __future__ import annotations

import argparse
import csv
import pathlib

from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.models.face_swap.config import FINE, FaceSwapConfig
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.command_options import (
    add_precision,
    add_run_options,
    read_run_request,
)
from task_bundle.command_line import add_face_landmarker, positive_int

_NAME = "face_swap"
_STEPS, _PAIRS = 20_000, 12_000
# What the networks may look like: as published, or finer at a little more cost.
_NETWORKS = {"published": {}, "fine": FINE}
# Parts of the recipe that can be left out, to see what each is good for.
_ABLATIONS = ("reweighting", "mask", "identity", "prediction", "modulation", "discriminator")


def add_face_swap(commands) -> None:
    """Adds `face-swap train`.

    Args:
      commands: What `ArgumentParser.add_subparsers` returned.
    """
    face_swap = commands.add_parser(
        "face-swap",
        help="train networks that swap faces",
        description="Trains the networks that `swap` makes bundles with.",
    )
    actions = face_swap.add_subparsers()
    train = actions.add_parser(
        "train",
        help="train from portraits",
        description="Makes pairs of portraits, lets a teacher without weights swap their faces, "
        "distills that into small networks, and writes these as a preset into the run's folder. "
        "Run it again to resume after an interruption.",
    )
    train.add_argument(
        "--network",
        choices=tuple(_NETWORKS),
        default="fine",
        help="as published, or with the source's texture and finer detail (fine)",
    )
    train.add_argument(
        "--image-size", type=int, default=256, metavar="SIDE", help="in pixels (256)"
    )
    train.add_argument(
        "--sources",
        nargs="+",
        default=["SFHQ", "interfaces", "webmorphR"],
        metavar="PREFIX",
        help="take only the portraits whose source in --data-list begins like this: people who do "
        "not exist, or who published their pictures for such use (SFHQ interfaces webmorphR)",
    )
    train.add_argument(
        "--pairs", type=positive_int, default=_PAIRS, metavar="N", help=f"to train on ({_PAIRS})"
    )
    train.add_argument(
        "--start-from", metavar="PRESET", help="networks of the same kind to start from"
    )
    train.add_argument(
        "--without",
        nargs="+",
        choices=_ABLATIONS,
        default=[],
        metavar="PART",
        help=f"leave out parts of the recipe, for comparison: {', '.join(_ABLATIONS)}",
    )
    add_run_options(train, _NAME, steps=_STEPS, learning_rate=1e-3, batch_size=8)
    add_precision(train)
    add_face_landmarker(train)
    train.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> None:
    wanted = _wanted(arguments.data_list, arguments.sources)
    start = Preset.find(arguments.start_from) if arguments.start_from else None
    request = read_run_request(arguments, _NAME)
    provenance = request.provenance(start.card if start else None)
    face_models = request.face_models()
    from mm_face_stylizer.models.efficientnet_lite import perceptual_network
    from mm_face_stylizer.models.face_swap.identity import IdentityNetwork
    from mm_face_stylizer.training.face_swap.pairs import TEACHER_SIDE, SwapPairs
    from mm_face_stylizer.training.face_swap.release import release_face_swap
    from mm_face_stylizer.training.face_swap.swap_losses import FEATURE_TAPS, SwapWeights
    from mm_face_stylizer.training.face_swap.swap_training import (
        SwapOptions,
        SwapStage,
        SwapTraining,
    )
    from mm_face_stylizer.training.portraits import Portraits

    without = arguments.without
    weights = {
        **({"identity": 0.0} if "identity" in without else {}),
        **({"mask": 0.0} if "mask" in without else {}),
        **({"adversarial": 0.0} if "discriminator" in without else {}),
    }
    config = FaceSwapConfig(
        image_size=arguments.image_size,
        masked="mask" not in without,
        predicted="prediction" not in without,
        modulated="modulation" not in without,
        **_NETWORKS[arguments.network],
    )
    options = SwapOptions(
        config=config,
        stage=SwapStage(arguments.steps, SwapWeights(**weights)),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        conv_dtype=arguments.conv_dtype,
    )
    identity = IdentityNetwork()
    cache = request.output / "cache"
    portraits = Portraits(arguments.data, cache / "portraits", TEACHER_SIDE, wanted)
    pairs = SwapPairs.prepare(
        portraits,
        face_models,
        identity,
        cache / "pairs",
        config.image_size,
        arguments.pairs,
        reweighted="reweighting" not in without,
        seed=arguments.seed,
    )
    run = SwapTraining(
        options,
        pairs,
        identity,
        request.output,
        perceptual_network(FEATURE_TAPS),
        start.weights() if start else None,
    )
    request.train(
        run,
        lambda: release_face_swap(
            run, portraits, face_models, identity, provenance, request.result_folder
        ),
    )


def _wanted(data_list: pathlib.Path | None, prefixes: list[str]) -> set[str]:
    """Returns the names of the portraits that may be used."""
    if data_list is None:
        raise InvalidArgumentError(
            "face-swap train needs --data-list: it uses only portraits whose source it knows, of "
            "people who do not exist or who published their pictures for such use"
        )
    with data_list.open(newline="", encoding="utf-8-sig") as listing:
        rows = list(csv.DictReader(listing))
    wanted = {
        row["file"]
        for row in rows
        if row.get("file") and (row.get("source") or "").startswith(tuple(prefixes))
    }
    if not wanted:
        raise DataError(
            f"{data_list} lists no portrait whose source begins with {' or '.join(prefixes)}"
        )
    return wanted
