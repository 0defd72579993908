"""The command `mm-face-stylizer benchmark`, which measures, shows and compares results."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from task_bundle.command_files import check_output_files
from task_bundle.command_line import add_overwrite, positive_int

if TYPE_CHECKING:
    from benchmarks.measuring import Options, Target
    from benchmarks.report import Report
    from benchmarks.subject import LoadedSubject
    from task_bundle.command_line import SubCommands

VARIANTS = ("float32", "float16", "int8", "512")


def configure_benchmark(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands of `benchmark` to its parser; nothing else is imported yet.

    Args:
      parser: The parser of `benchmark`, without options.
    """
    parser.description = (
        "Measures how long bundles take on this computer, stage by stage, and shows and compares "
        "results."
    )
    kinds = parser.add_subparsers()
    _add_run(kinds)
    _add_scale(kinds)
    _add_render(kinds)
    _add_compare(kinds)
    _add_operators(kinds)


def _add_run(kinds: SubCommands) -> None:
    run = kinds.add_parser(
        "run",
        help="measure bundles or single models on this computer",
        description="Measures bundles end to end and model by model. Results are checked first; "
        "a bundle that returns a wrong picture gets no times.",
    )
    run.add_argument(
        "subjects", nargs="*", type=Path, metavar="BUNDLE", help=".task bundle or .tflite model"
    )
    run.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=[],
        help="export the preset in these precisions and measure that too; 512 is the preset of "
        "512 px (needs TensorFlow)",
    )
    run.add_argument(
        "--float32",
        type=Path,
        metavar="BUNDLE",
        help="the float32 export of the other bundles, whose pictures must resemble its own",
    )
    run.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="folder of stored pictures, NAME.png for NAME.task, that the results must resemble; "
        "missing ones are written",
    )
    run.add_argument(
        "--quick",
        action="store_true",
        help="few calls of a photo end to end alone, in about 15 s; -o may be left out",
    )
    run.add_argument("--no-plain", action="store_true", help="leave out runs without XNNPACK")
    run.add_argument("--no-profile", action="store_true", help="leave out the times of operators")
    _add_measuring(run)

    def checked(arguments: argparse.Namespace) -> None:
        if arguments.output is None and not arguments.quick:
            run.error("the following arguments are required: -o/--output (or --quick)")
        _run(arguments)

    run.set_defaults(run=checked)


def _add_scale(kinds: SubCommands) -> None:
    scale = kinds.add_parser(
        "scale",
        help="measure how latency grows with photo, faces, batch and resolution",
        description="Measures a bundle on photos of several sizes and with several faces, and "
        "untrained stylizers of several resolutions and batch sizes (these need TensorFlow).",
    )
    scale.add_argument("subjects", nargs=1, type=Path, metavar="BUNDLE")
    scale.add_argument(
        "--by",
        nargs="+",
        choices=("photo", "faces", "batch", "resolution"),
        default=["photo", "faces", "batch", "resolution"],
        help="what to vary (all)",
    )
    _add_measuring(scale, output_required=True)
    scale.set_defaults(run=_scale)


def _add_measuring(command: argparse.ArgumentParser, output_required: bool = False) -> None:
    command.add_argument(
        "-o", "--output", required=output_required, type=Path, metavar="RESULT.json"
    )
    command.add_argument(
        "--photo",
        type=Path,
        metavar="PICTURE",
        help="photo with a face (default: the portrait that matplotlib ships)",
    )
    command.add_argument(
        "--rounds", type=positive_int, default=10, help="rounds, each in a fresh process (10)"
    )
    command.add_argument(
        "--calls", type=positive_int, default=10, help="counted calls of a case in a round (10)"
    )
    command.add_argument(
        "--warm-up", type=int, default=2, help="calls of a case in a round that do not count (2)"
    )
    command.add_argument("--no-memory", action="store_true", help="leave out the memory pass")
    command.add_argument("--seed", type=int, default=0, help="seed of the order of the cases (0)")
    add_overwrite(command)


def _add_render(kinds: SubCommands) -> None:
    render = kinds.add_parser("render", help="show a result as table, Markdown, CSV or plots")
    render.add_argument("result", type=Path, metavar="RESULT.json")
    render.add_argument("--markdown", type=Path, metavar="X.md")
    render.add_argument("--csv", type=Path, metavar="X.csv")
    render.add_argument(
        "--plots", metavar="STEM", help="write STEM-stages.png, STEM-size.png and so on"
    )
    add_overwrite(render)
    render.set_defaults(run=_render)


def _add_compare(kinds: SubCommands) -> None:
    compare = kinds.add_parser(
        "compare",
        help="say what changed from one result to another beyond noise",
        description="Compares two results case by case. The exit status is 1 if a case became "
        "slower or fails now, and 0 otherwise.",
    )
    compare.add_argument("before", type=Path, metavar="A.json")
    compare.add_argument("after", type=Path, metavar="B.json")
    compare.add_argument(
        "--tolerance", type=float, default=0.03, help="smallest change to report, as a share (0.03)"
    )
    compare.set_defaults(run=_compare)


def _add_operators(kinds: SubCommands) -> None:
    operators = kinds.add_parser(
        "operators",
        help="measure the parts of translators, for `translator search`",
        description="Measures the parts of translators of many widths on one thread of this "
        "computer, and writes the table of latencies that `translator search` reads (needs "
        "TensorFlow).",
    )
    operators.add_argument("-o", "--output", required=True, type=Path, metavar="TABLE.json")
    operators.add_argument(
        "--network",
        default="mobile",
        metavar="NAME",
        help="the largest network of the search, as in `translator search` (mobile)",
    )
    operators.add_argument(
        "--image-size", type=positive_int, default=256, metavar="SIDE", help="in pixels (256)"
    )
    operators.add_argument(
        "--samples",
        type=positive_int,
        default=8,
        metavar="N",
        help="random widths of each part, beside the smallest and the largest (8)",
    )
    operators.add_argument(
        "--networks",
        type=positive_int,
        default=6,
        metavar="N",
        help="whole networks of random widths (6)",
    )
    operators.add_argument("--rounds", type=positive_int, default=8, metavar="N", help="(8)")
    operators.add_argument("--seed", type=int, default=0, help="seed of the widths (0)")
    add_overwrite(operators)
    operators.set_defaults(run=_operators)


def _operators(arguments: argparse.Namespace) -> None:
    from benchmarks.operators import OperatorOptions, measure_operators
    from mm_face_stylizer.models.translator.config import translator_config

    check_output_files(arguments.output, overwrite=arguments.overwrite)
    table = measure_operators(
        OperatorOptions(
            largest=translator_config(arguments.network, arguments.image_size),
            samples=arguments.samples,
            networks=arguments.networks,
            rounds=arguments.rounds,
            seed=arguments.seed,
        ),
        _progress,
    )
    table.save(arguments.output, arguments.overwrite)
    sys.stdout.write(f"{arguments.output}\n")


def _run(arguments: argparse.Namespace) -> None:
    from benchmarks.measuring import Target, stage_cases
    from benchmarks.subject import LoadedSubject
    from task_bundle.errors import InvalidArgumentError
    from task_bundle.media.images import load_image

    options = _options(arguments)
    subjects = [LoadedSubject.load(path) for path in arguments.subjects]
    siblings: dict[str, str] = {}
    if arguments.float32 is not None:
        sibling = LoadedSubject.load(arguments.float32)
        siblings = {s.description.name: sibling.description.name for s in subjects}
        subjects.append(sibling)
    if arguments.variants:
        from benchmarks.variants import export_variants

        _progress(f"exporting {', '.join(arguments.variants)}")
        exported = export_variants(arguments.variants)
        if "float32" in exported:
            name = exported["float32"].description.name
            others = [s for v, s in exported.items() if v in ("float16", "int8")]
            siblings |= {s.description.name: name for s in others}
        subjects += exported.values()
    if not subjects:
        raise InvalidArgumentError("nothing to measure: name bundles, or --variants of the preset")
    photo = load_image(_photo(arguments))
    targets = []
    for subject in subjects:
        name = subject.description.name
        stored = arguments.pictures and arguments.pictures / f"{name}.png"
        targets.append(
            Target(
                subject,
                stage_cases(subject, photo, options),
                siblings.get(name),
                load_image(stored) if stored is not None and stored.exists() else None,
            )
        )
    report = _measure(targets, [photo], options, arguments)
    if arguments.pictures is not None:
        new = [target.subject for target in targets if target.stored is None]
        _store_pictures(arguments.pictures, new, photo)
    _show(report)


def _store_pictures(folder: Path, subjects: Sequence[LoadedSubject], photo: Any) -> None:
    """Stores the stylized pictures with which later runs are compared."""
    from task_bundle import FaceStylizer, FaceStylizerOptions
    from task_bundle.media.images import save_png

    folder.mkdir(parents=True, exist_ok=True)
    for subject in subjects:
        if subject.bundle is None:
            continue
        with FaceStylizer(subject.bundle, FaceStylizerOptions(backend="portable")) as stylizer:
            face = stylizer.stylize(photo)
        if face is not None:
            save_png(folder / f"{subject.description.name}.png", face.numpy_view())


def _scale(arguments: argparse.Namespace) -> None:
    from benchmarks.scaling import scaling_targets
    from benchmarks.subject import LoadedSubject
    from task_bundle.media.images import load_image

    subject = LoadedSubject.load(arguments.subjects[0])
    photo = load_image(_photo(arguments))
    targets, photos = scaling_targets(subject, photo, arguments.by)
    _show(_measure(targets, photos, _options(arguments), arguments))


def _measure(
    targets: Sequence[Target],
    photos: Sequence[Any],
    options: Options,
    arguments: argparse.Namespace,
) -> Report:
    from benchmarks.measuring import measure
    from task_bundle.file_names import as_text

    recorded: dict[str, Any] = {"photo": as_text(_photo(arguments).name)}
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    report = measure(targets, photos, options, recorded, _progress)
    if arguments.output is not None:
        report.save(arguments.output, arguments.overwrite)
    return report


def _options(arguments: argparse.Namespace) -> Options:
    from benchmarks.measuring import QUICK, Options

    if getattr(arguments, "quick", False):
        return dataclasses.replace(QUICK, seed=arguments.seed)
    return Options(
        rounds=arguments.rounds,
        calls=arguments.calls,
        warm_up=arguments.warm_up,
        memory=not arguments.no_memory,
        plain=not getattr(arguments, "no_plain", True),
        profile=not getattr(arguments, "no_profile", True),
        seed=arguments.seed,
    )


def _photo(arguments: argparse.Namespace) -> Path:
    from task_bundle.sample_photo import sample_photo

    return sample_photo() if arguments.photo is None else Path(arguments.photo)


def _show(report: Report) -> None:
    from benchmarks.tables import terminal

    sys.stdout.write(terminal(report))


def _render(arguments: argparse.Namespace) -> None:
    from benchmarks import tables
    from benchmarks.report import Report
    from task_bundle.files import atomic_write

    report = Report.load(arguments.result)
    for path, write in ((arguments.markdown, tables.markdown), (arguments.csv, tables.csv_text)):
        if path is not None:
            atomic_write(path, write(report).encode(), arguments.overwrite)
    if arguments.plots is not None:
        from benchmarks.plots import save_plots

        for path in save_plots(report, arguments.plots, arguments.overwrite):
            sys.stdout.write(f"{path}\n")
    if not (arguments.markdown or arguments.csv or arguments.plots):
        _show(report)


def _compare(arguments: argparse.Namespace) -> int:
    from benchmarks.comparison import compare, is_worse, to_text
    from benchmarks.report import Report

    changes = compare(
        Report.load(arguments.before), Report.load(arguments.after), arguments.tolerance
    )
    sys.stdout.write(to_text(changes))
    return 1 if is_worse(changes) else 0


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
