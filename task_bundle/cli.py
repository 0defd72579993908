"""The `task-bundle` command."""

# PYTHON_ARGCOMPLETE_OK

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from task_bundle.archive import ALIGNMENT, FACE_STYLIZER, TaskArchive, models_of, read_bytes
from task_bundle.bundle import TaskBundle
from task_bundle.cache import cache_folder
from task_bundle.command_line import (
    CommandParser,
    add_face_landmarker,
    add_overwrite,
    add_version,
    bundle_file,
    positive_number,
    printable,
    run,
)
from task_bundle.errors import BundleError, TaskBundleError
from task_bundle.faces.face_models import download_face_landmarker, find_face_models
from task_bundle.files import atomic_write
from task_bundle.inspection import EntryReport, inspect_archive
from task_bundle.provenance import Provenance, read_provenance
from task_bundle.runtime.command import add_stylize
from task_bundle.tflite.probe import CPU_SECONDS, SECONDS_VARIABLE
from task_bundle.tflite.validation import check_loads
from task_bundle.web.command import add_serve

_PROGRAM = "task-bundle"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the command-line arguments; those of the process if None.

    Returns:
      The exit status, as `task_bundle.command_line.run` describes it.

    Raises:
      SystemExit: with 2 if the arguments do not parse, with 0 after --help.
    """
    return run(_parser(), argv, (TaskBundleError,))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=_PROGRAM,
        description="Builds, inspects, checks and runs .task bundles of face stylizers.",
    )
    add_version(parser)
    commands = parser.add_subparsers()

    inspect = commands.add_parser("inspect", help="show the contents of a .task file")
    inspect.add_argument("bundle", type=Path, metavar="BUNDLE")
    inspect.add_argument("--json", action="store_true", help="print JSON, for programs")
    inspect.add_argument(
        "--thumbnail",
        type=Path,
        metavar="X.jpg",
        help="write the picture in the bundle that shows what it does",
    )
    add_overwrite(inspect, "replace X.jpg if it exists")
    inspect.set_defaults(run=_inspect)

    validate = commands.add_parser("validate", help="check that a bundle is valid and safe to load")
    validate.add_argument("bundle", type=Path, metavar="BUNDLE")
    _add_check_seconds(validate)
    validate.set_defaults(run=_validate)

    build = commands.add_parser("build", help="pack a TFLite stylizer into a bundle")
    build.add_argument("--stylizer", type=Path, required=True, metavar="X.tflite")
    add_face_landmarker(
        build,
        "take face detector and landmark model from this bundle; default: the cache, then"
        " mediapipe 0.10's own",
    )
    build.add_argument("-o", "--output", type=bundle_file, required=True, metavar="OUT.task")
    add_overwrite(build, "replace OUT.task if it exists")
    _add_check_seconds(build)
    build.set_defaults(run=_build)

    extract = commands.add_parser("extract", help="write a bundle's entries into a folder")
    extract.add_argument("bundle", type=Path, metavar="BUNDLE")
    extract.add_argument("folder", type=Path, metavar="DIR", help="created if it does not exist")
    add_overwrite(extract, "replace files that exist")
    extract.set_defaults(run=_extract)

    add_stylize(commands, _PROGRAM)
    add_serve(commands)

    folder = str(cache_folder()).replace("%", "%%")  # argparse formats help texts.
    download = commands.add_parser(
        "download-face-landmarker",
        help=f"download Google's face models (3.8 MB) to {folder}",
    )
    download.set_defaults(run=_download)
    return parser


def _add_check_seconds(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check-seconds",
        type=positive_number,
        metavar="S",
        help="CPU time in which all models must load and run once; more for heavy models on slow"
        f" machines (${SECONDS_VARIABLE}, then {CPU_SECONDS:g}). Models that pass are not checked"
        " again on this machine",
    )


def _inspect(arguments: argparse.Namespace) -> None:
    archive = TaskArchive.open(arguments.bundle)
    reports = inspect_archive(archive)
    stylizer = archive.contents().get(FACE_STYLIZER)
    made = (
        None
        if stylizer is None
        else read_provenance(stylizer, f"{FACE_STYLIZER} in {archive.name}")
    )
    if arguments.thumbnail is not None:
        if made is None or not made.thumbnail:
            raise BundleError(f"{archive.name} has no picture that shows what it does")
        atomic_write(arguments.thumbnail, made.thumbnail, arguments.overwrite)
    if arguments.json:
        entries = [dataclasses.asdict(report) for report in reports]
        report = {"name": archive.name, "size": archive.size}
        report |= {"made": None if made is None else made.to_json(), "entries": entries}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    lines = [f"{archive.name}: {archive.size:,} bytes", *_how_made(made)]
    for entry in reports:
        lines += ["", *_lines(entry)]
    sys.stdout.write("\n".join(lines) + "\n")


def _how_made(made: Provenance | None) -> list[str]:
    if made is None:
        return []
    styles = ", ".join(printable(style) for style in made.styles)
    return [
        f"  made by     mm-face-stylizer {printable(made.version)}, {printable(made.preset)}",
        f"  styles      {styles}",
        f"  training    {made.steps} steps, seed {made.seed}, likeness {made.likeness:g}, colors of"
        f" the {printable(made.colors)}",
        f"  export      strength {made.strength:g}, {printable(made.precision)}",
        f"  thumbnail   {len(made.thumbnail):,} bytes; --thumbnail X.jpg writes it",
    ]


def _lines(entry: EntryReport) -> list[str]:
    how = "compressed" if entry.compressed else f"aligned to {entry.alignment}"
    lines = [
        f"{entry.name}: {entry.size:,} bytes at {entry.offset:,}, {how}",
        f"  sha256      {entry.sha256}",
    ]
    if entry.model is None:
        return lines
    tensors = [
        ", ".join(f"{printable(t.name)} {t.dtype} {list(t.shape)}" for t in side)
        for side in (entry.model.inputs, entry.model.outputs)
    ]
    operators = (f"{printable(name)} {count}" for name, count in entry.model.ops.items())
    metadata = entry.metadata
    return [
        *lines,
        f"  input       {tensors[0]}",
        f"  output      {tensors[1]}",
        f"  parameters  {entry.model.parameters:,}",
        f"  MACs        {entry.model.macs:,}",
        f"  operators   {', '.join(operators)}",
        f"  metadata    {printable(metadata.get('name', 'unnamed')) if metadata else 'none'}",
    ]


def _validate(arguments: argparse.Namespace) -> None:
    archive = TaskArchive.open(arguments.bundle)
    remarks = [
        f"{entry.name} is not aligned to {ALIGNMENT} bytes, which some runtimes ask for"
        for entry in archive.entries
        if entry.alignment % ALIGNMENT
    ]
    if FACE_STYLIZER in archive.contents():
        remarks += TaskBundle.from_archive(archive).validate(archive.name, arguments.check_seconds)
        kind = "a face stylizer bundle"
    else:
        models = models_of(archive)
        check_loads(models, archive.name, arguments.check_seconds)
        kind = f"an archive of {len(models)} models, none a stylizer"
    sys.stdout.write(f"{archive.name}: {kind}, safe to load\n")
    for remark in remarks:
        sys.stdout.write(f"  note: {printable(remark)}\n")


def _build(arguments: argparse.Namespace) -> None:
    stylizer, _ = read_bytes(arguments.stylizer)
    models = find_face_models(arguments.face_landmarker)
    bundle = TaskBundle.build(stylizer, models)
    bundle.validate(cpu_seconds=arguments.check_seconds)
    bundle.save(arguments.output, arguments.overwrite)
    sys.stdout.write(f"{arguments.output}: built with the face models of {models.source}\n")


def _extract(arguments: argparse.Namespace) -> None:
    for file in TaskArchive.open(arguments.bundle).extract(arguments.folder, arguments.overwrite):
        sys.stdout.write(f"{file}\n")


def _download(arguments: argparse.Namespace) -> None:
    del arguments
    sys.stdout.write(f"{download_face_landmarker()}\n")


if __name__ == "__main__":
    sys.exit(main())
