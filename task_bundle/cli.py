"""The `task-bundle` command."""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from task_bundle.bundle import TaskBundle
from task_bundle.cache import cache_folder
from task_bundle.errors import BundleError, FaceModelsError, ImageError
from task_bundle.face_models import download_face_landmarker, find_face_models
from task_bundle.files import atomic_write
from task_bundle.metadata import read_metadata
from task_bundle.model import describe
from task_bundle.stylize_command import add_stylize

_PROGRAM = "task-bundle"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: its arguments; those of the process if None.

    Returns:
      The exit status: 0 done, 1 failed with one line on stderr, 130 interrupted.

    Raises:
      SystemExit: with 2 for wrong usage, with 0 after --help.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except KeyboardInterrupt:
        sys.stderr.write(f"{_PROGRAM}: interrupted\n")
        return 130
    except FileExistsError as error:
        hint = "; pass --overwrite to replace it" if hasattr(arguments, "overwrite") else ""
        return _fail(_message(error) + hint)
    except (BundleError, FaceModelsError, ImageError, OSError, ImportError) as error:
        return _fail(_message(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Builds and looks into face stylizer .task bundles."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    inspect = commands.add_parser("inspect", help="show what is in a bundle")
    inspect.add_argument("bundle", type=Path, metavar="BUNDLE")
    inspect.add_argument("--json", action="store_true", help="for programs")
    inspect.set_defaults(run=_inspect)

    build = commands.add_parser("build", help="pack a TFLite stylizer into a bundle")
    build.add_argument("--stylizer", type=Path, required=True, metavar="X.tflite")
    build.add_argument(
        "--face-landmarker",
        type=Path,
        metavar="X.task",
        help="where the face models come from; default: the cache, then mediapipe 0.10's own",
    )
    build.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.task")
    build.add_argument("--overwrite", action="store_true", help="replace OUT.task if it exists")
    build.set_defaults(run=_build)

    extract = commands.add_parser("extract", help="write a bundle's models into a folder")
    extract.add_argument("bundle", type=Path, metavar="BUNDLE")
    extract.add_argument("folder", type=Path, metavar="DIR", help="made if it does not exist")
    extract.add_argument("--overwrite", action="store_true", help="replace files that exist")
    extract.set_defaults(run=_extract)

    add_stylize(commands, lambda error: _fail(_message(error)))

    download = commands.add_parser(
        "download-face-landmarker",
        help=f"fetch Google's face models (3.8 MB) into {cache_folder()}",
    )
    download.set_defaults(run=_download)
    return parser


def _inspect(arguments: argparse.Namespace) -> None:
    bundle = TaskBundle.open(arguments.bundle)
    models: dict[str, dict[str, Any]] = {}
    for name, model in bundle.entries().items():
        models[name] = {
            "bytes": len(model),
            "sha256": hashlib.sha256(model).hexdigest(),
            **dataclasses.asdict(describe(model)),
            "metadata": read_metadata(model),
        }
    report = {"bytes": arguments.bundle.stat().st_size, "models": models}
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    lines = [f"{arguments.bundle}: {report['bytes']:,} bytes"]
    for name, model_report in models.items():
        lines += ["", *_lines(name, model_report)]
    sys.stdout.write("\n".join(lines) + "\n")


def _lines(name: str, report: dict[str, Any]) -> list[str]:
    tensors = {
        kind: ", ".join(f"{t['name']} {t['dtype']} {list(t['shape'])}" for t in report[kind])
        for kind in ("inputs", "outputs")
    }
    metadata = report["metadata"]
    return [
        f"{name}: {report['bytes']:,} bytes, sha256 {report['sha256'][:12]}",
        f"  input       {tensors['inputs']}",
        f"  output      {tensors['outputs']}",
        f"  parameters  {report['parameters']:,}",
        f"  MACs        {report['macs']:,}",
        "  operators   " + ", ".join(f"{op} {n}" for op, n in report["ops"].items()),
        f"  metadata    {metadata.get('name', 'unnamed') if metadata else 'none'}",
    ]


def _build(arguments: argparse.Namespace) -> None:
    stylizer = arguments.stylizer.read_bytes()
    models = find_face_models(arguments.face_landmarker)
    bundle = TaskBundle.build(stylizer, models)
    bundle.save(arguments.output, arguments.overwrite)
    sys.stdout.write(f"{arguments.output}: built with the face models of {models.source}\n")


def _extract(arguments: argparse.Namespace) -> None:
    bundle = TaskBundle.open(arguments.bundle)
    if arguments.folder.exists() and not arguments.folder.is_dir():
        raise BundleError(f"{arguments.folder} is not a folder")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    targets = {arguments.folder / name: model for name, model in bundle.entries().items()}
    # All or nothing: a refusal must not leave half of them.
    taken = [target for target in targets if target.exists()]
    if taken and not arguments.overwrite:
        raise FileExistsError(f"{', '.join(map(str, taken))} already there")
    for target, model in targets.items():
        atomic_write(target, model, arguments.overwrite)
        sys.stdout.write(f"{target}\n")


def _download(arguments: argparse.Namespace) -> None:
    del arguments
    sys.stdout.write(f"{download_face_landmarker()}\n")


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        # The system's own messages keep the file apart.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fail(message: str) -> int:
    sys.stderr.write(f"{_PROGRAM}: error: {' '.join(message.split())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
