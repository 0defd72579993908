"""The command `mm-face-stylizer evaluate`, which measures a preset or a bundle on portraits."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_face_stylizer.errors import InvalidArgumentError
from task_bundle.command_files import check_input_files
from task_bundle.command_line import add_face_landmarker, add_overwrite, printable

if TYPE_CHECKING:
    from mm_face_stylizer.evaluation.report import Evaluation, FairnessGap


def add_evaluate(commands: Any) -> None:
    """Adds the command `evaluate` and its options.

    Args:
      commands: The object that `ArgumentParser.add_subparsers` returned.
    """
    command = commands.add_parser(
        "evaluate",
        help="measure a preset or a bundle on portraits",
        description="Runs a preset or a bundle on portraits and measures how well it reconstructs "
        "them or, with --style, how well it stylizes them: image quality or distance from the "
        "style and residue of the photo, faces found, landmark error and identity, as means over "
        "all people and by group. Writes evaluation.json and contact sheets.",
    )
    command.add_argument(
        "subject",
        metavar="PRESET_OR_BUNDLE",
        help="name of a preset, folder of a preset, or .task file",
    )
    command.add_argument(
        "--faces",
        required=True,
        type=Path,
        action=_Once,
        metavar="DIR",
        help="folder of square portraits, cropped as the runtime crops faces; only portraits held "
        "out of training are used, see --all",
    )
    command.add_argument(
        "--face-list",
        type=Path,
        action=_Once,
        metavar="CSV",
        help="table with the column file and any of the columns source, gender, age and race",
    )
    command.add_argument(
        "--style",
        nargs="+",
        type=Path,
        default=[],
        metavar="IMG",
        help="pictures that the bundle was tuned on, each with a face; measures stylization "
        "instead of reconstruction",
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="folder for evaluation.json and the contact sheets; created if it is missing",
    )
    command.add_argument(
        "--all",
        action="store_true",
        help="use all portraits, including those that presets may have been trained on",
    )
    command.add_argument(
        "--align",
        action="store_true",
        help="the pictures are uncropped photos: find the largest face in each and crop it",
    )
    command.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="use at most N portraits, spread evenly over the sorted file names",
    )
    command.add_argument(
        "--samples",
        type=int,
        default=1000,
        metavar="N",
        help="number of faces to generate with a preset, for each of its two ways to draw latents "
        "(default: 1000)",
    )
    command.add_argument(
        "--truncation",
        type=float,
        default=0.7,
        metavar="PSI",
        help="truncation of the mapping network's latents, from 0 (mean face) to 1 (none) "
        "(default: 0.7)",
    )
    command.add_argument(
        "--people",
        type=int,
        default=300,
        metavar="N",
        help="number of people in each gallery of the rank-1 identity test (default: 300)",
    )
    command.add_argument(
        "--not-for-identity",
        nargs="*",
        default=["voteview"],
        metavar="SOURCE",
        help="sources to leave out of the identity measures, because the same people may appear in "
        "other sources (default: voteview)",
    )
    command.add_argument(
        "--bootstrap",
        type=int,
        default=2000,
        metavar="N",
        help="rounds of bootstrap resampling and of label shuffling (default: 2000)",
    )
    command.add_argument(
        "--smallest-group",
        type=int,
        default=10,
        metavar="N",
        help="smallest number of people in a group that is compared with others (default: 10)",
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of all random draws; the same seed gives the same numbers (default: 0)",
    )
    add_face_landmarker(command)
    add_overwrite(command)
    command.set_defaults(run=_evaluate)


class _Once(argparse.Action):
    """Stores an option and rejects a second occurrence, which would silently replace the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "can only be given once")
        setattr(namespace, self.dest, values)


def _evaluate(arguments: argparse.Namespace) -> None:
    check_input_files(
        arguments.faces,
        arguments.face_list,
        *(arguments.style or ()),
        arguments.face_landmarker,
    )
    # These modules import TensorFlow and pydantic, which most commands do not need.
    from mm_face_stylizer.dataset import Dataset
    from mm_face_stylizer.evaluation.evaluator import (
        RESULT_FILE,
        EvaluationOptions,
        check_missing,
        evaluate,
        sheet_names,
    )
    from mm_face_stylizer.evaluation.portrait_set import PortraitSet
    from mm_face_stylizer.evaluation.subject import find_subject
    from task_bundle.faces.face_models import find_face_models

    options = EvaluationOptions(
        samples=arguments.samples,
        truncation=arguments.truncation,
        people=arguments.people,
        sources_left_out=tuple(arguments.not_for_identity),
        bootstrap=arguments.bootstrap,
        smallest_group=arguments.smallest_group,
        seed=arguments.seed,
    )
    folder = arguments.output
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; the output must be a folder")
    subject = find_subject(arguments.subject)
    if arguments.style and subject.kind == "preset":
        raise InvalidArgumentError(
            f"--style was given, but {subject.name} is a preset, which has no style; pass a bundle "
            "that was tuned on the style pictures"
        )
    if not arguments.overwrite:
        names = (RESULT_FILE, *sheet_names(subject.kind, bool(arguments.style)))
        check_missing([folder / name for name in names])
    face_models = find_face_models(arguments.face_landmarker)
    styles = None
    if arguments.style:
        styles = Dataset.from_images(arguments.style, size=subject.side, face_models=face_models)
    portraits = PortraitSet.load(
        arguments.faces,
        subject.side,
        arguments.face_list,
        everybody=arguments.all,
        limit=arguments.limit,
        align=arguments.align,
        face_models=face_models,
    )
    result = evaluate(
        subject,
        portraits,
        styles,
        options,
        only_held_out=not arguments.all,
        aligned_here=arguments.align,
        face_models=face_models,
    )
    files = result.save(folder, arguments.overwrite)
    sys.stdout.write(printed(result.evaluation))
    sys.stdout.write("".join(f"{file}\n" for file in files))


def printed(evaluation: Evaluation) -> str:
    """Formats the main results of an evaluation as a table for a terminal.

    Args:
      evaluation: The evaluation.

    Returns:
      Several lines of text, each ended by a newline: one for each measure with its mean, its 95%
      interval and its largest gap between groups, then style, generated faces and units.
    """
    from mm_face_stylizer.evaluation.report import MEASURES

    gaps: dict[str, FairnessGap] = {}
    for line in evaluation.fairness:
        if line.relative_gap is not None:
            known = gaps.get(line.measure)
            if known is None or line.relative_gap > (known.relative_gap or 0.0):
                gaps[line.measure] = line
    lines = [f"{'':<24}{'mean':>9}  {'95% interval':<19} {'people':>6}  largest gap between groups"]
    for measure in evaluation.measures:
        low, high = measure.interval
        gap = gaps.get(measure.name)
        text = ""
        if gap is not None and gap.gap > 0:
            text = (
                f"{gap.relative_gap:.0%} of the mean, {gap.by}: {printable(gap.low)} to "
                f"{printable(gap.high)}, p = {gap.p_value:.2g}"
            )
        lines.append(
            f"{measure.name:<24}{measure.mean:>9.3f}  {f'{low:.3f} to {high:.3f}':<19} "
            f"{measure.count:>6}  {text}"
        )
    if evaluation.style is not None and evaluation.style.between_styles is not None:
        lines.append(
            "style_distance of each style picture from the others: "
            f"{evaluation.style.between_styles:.3f}"
        )
    for faces in evaluation.generated:
        how = "" if faces.truncation is None else f", truncation {faces.truncation:g}"
        lines.append(
            f"{faces.count} faces generated with {faces.drawn_by} latents{how}: a face is found in "
            f"{faces.face_found:.1%}, Frechet distance {faces.frechet_distance:.2f}"
        )
    units = {name: MEASURES[name][0] for name in (m.name for m in evaluation.measures)}
    lines.append("units: " + ", ".join(f"{name} {unit}" for name, unit in units.items()))
    return "\n".join(lines) + "\n"
