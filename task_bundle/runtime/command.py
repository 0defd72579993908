"""The `stylize` command, which runs a bundle on pictures, folders and videos."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from task_bundle.batch import THIS_MACHINE
from task_bundle.bundle import TaskBundle
from task_bundle.command_files import check_output_folder, output_file
from task_bundle.command_line import (
    add_overwrite,
    add_unmarked,
    debug_requested,
    positive_int,
    printable,
    report_error,
)
from task_bundle.errors import ImageError, NoFaceError, VideoError
from task_bundle.files import already_exists
from task_bundle.media.folders import VIDEO_SUFFIXES, list_files
from task_bundle.media.images import PICTURE_SUFFIXES, load_color_profile, load_image, save_png
from task_bundle.media.video import Frame, Video, save_video
from task_bundle.runtime.compositing import REGIONS, composite
from task_bundle.runtime.rendering import COMPOSITE, CUTOUT, FACE, Rendering
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions
from task_bundle.tflite.model import describe, picture_size

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands


def add_stylize(
    commands: "SubCommands",
    program: str,
    ready: Callable[[str], TaskBundle] | None = None,
) -> None:
    """Adds the command to those of a program.

    Args:
      commands: What `argparse.ArgumentParser.add_subparsers` returned.
      program: The name of the program, for messages about single inputs.
      ready: Makes the bundle of a style that comes with the program; adds the option `--style`.
    """
    stylize = commands.add_parser(
        "stylize",
        help="stylize pictures, folders of them, and videos",
        description="Stylizes faces and writes a PNG for each picture and an MP4 for each video"
        " into a folder, by default with the upright face alone. In composites of videos, frames"
        " without a face stay unchanged; in videos of the face alone, they repeat the last picture."
        " The sound of videos is kept.",
    )
    stylize.add_argument("bundle", type=Path, metavar="BUNDLE")
    stylize.add_argument(
        "inputs",
        nargs="+" if ready is None else "*",
        type=_place,
        metavar="INPUT",
        help="a picture, a video, or a folder with pictures and videos",
    )
    if ready is None:
        stylize.set_defaults(style=None)
    else:
        stylize.add_argument(
            "--style",
            metavar="NAME",
            help="a ready style instead of BUNDLE, which is then an input, too",
        )
    stylize.add_argument(
        "-o",
        "--output",
        type=_place,
        required=True,
        metavar="DIR",
        help="a folder; or, for one picture, the PNG to write, and for one video the MP4",
    )
    form = stylize.add_mutually_exclusive_group()
    form.add_argument(
        "--composite", action="store_true", help="paste the stylized faces into the photo"
    )
    form.add_argument(
        "--cutout",
        action="store_true",
        help="paste the stylized faces into a transparent picture of the photo's size",
    )
    stylize.add_argument(
        "--num-faces",
        type=positive_int,
        default=1,
        metavar="N",
        help="stylize up to N faces, the largest first (1); without --composite or --cutout the"
        " others are written to PHOTO-2.png, PHOTO-3.png, ...",
    )
    stylize.add_argument(
        "--color-match",
        action="store_true",
        help="with --composite or --cutout: give the stylized faces the photo's colors",
    )
    stylize.add_argument(
        "--region",
        choices=REGIONS,
        default=REGIONS[0],
        help="with --composite or --cutout: paste the head with its hair, or the face alone (head;"
        " with mediapipe 1.x, which cannot tell hair from background, always the face)",
    )
    # The former spelling, for existing scripts.
    stylize.add_argument(
        "--colour-match", action="store_true", dest="color_match", help=argparse.SUPPRESS
    )
    add_unmarked(stylize)
    add_overwrite(stylize)
    many = stylize.add_argument_group("very many photos")
    many.add_argument(
        "--ray",
        nargs="?",
        const=THIS_MACHINE,
        metavar="ADDRESS",
        help="stylize the photos of one folder and its subfolders, or of an object store such as"
        " s3://bucket/photos, with Ray: on all cores of this machine, or on the cluster at ADDRESS"
        " ('auto' on one of its machines). What is done is not done again",
    )
    many.add_argument(
        "--workers", type=positive_int, metavar="N", help="with --ray: processes (one a core)"
    )

    def run(arguments: argparse.Namespace) -> int:
        if arguments.color_match and not (arguments.composite or arguments.cutout):
            stylize.error("--color-match needs --composite or --cutout")
        if arguments.style is not None:
            arguments.inputs.insert(0, arguments.bundle)
        elif not arguments.inputs:
            stylize.error("the following arguments are required: INPUT")
        if arguments.ray is None:
            if arguments.workers is not None:
                stylize.error("--workers needs --ray")
            for place in (*arguments.inputs, arguments.output):
                if isinstance(place, str):
                    stylize.error(f"{place} needs --ray")
            return _stylize(arguments, program, ready)
        if len(arguments.inputs) != 1:
            stylize.error("--ray takes one INPUT, a folder or an object store")
        return _stylize_many(arguments, ready)

    stylize.set_defaults(run=run)


def _place(text: str) -> Path | str:
    """Parses a path, or the URI of an object store, which no path can hold."""
    return text if "://" in text else Path(text)


@dataclass(frozen=True)
class _Job:
    """An input file, and the files that may be written for it."""

    source: Path
    targets: tuple[Path, ...]

    @property
    def is_video(self) -> bool:
        return _is_video(self.source)


def _stylize(
    arguments: argparse.Namespace, program: str, ready: Callable[[str], TaskBundle] | None
) -> int:
    from tqdm import tqdm

    # OpenCV writes warnings to stderr; what matters raises an exception instead. The variable is
    # read when OpenCV is imported, which happens later.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # Inputs come before outputs in what is complained of.
    bundle = _bundle(arguments, ready)
    sources = [source for path in arguments.inputs for source in _files(path)]
    suffix = ".mp4" if sources and _is_video(sources[0]) else ".png"
    file = output_file(arguments.output, sources, suffix)
    folder = arguments.output if file is None else file.parent
    jobs = [_Job(source, _targets(source, folder, file, arguments)) for source in sources]
    _check(jobs, arguments.overwrite)
    options = FaceStylizerOptions(num_faces=arguments.num_faces)
    failed = False
    written: Sequence[Path]
    with FaceStylizer.create_from_bundle(bundle, options) as stylizer:
        check_output_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for job in tqdm(jobs, unit="file", disable=len(jobs) == 1):
            try:
                if job.is_video:
                    written = [_stylize_video(job, bundle, options, arguments)]
                else:
                    written = _stylize_photo(job, stylizer, arguments)
            except (ImageError, OSError) as error:
                failed = True
                with tqdm.external_write_mode():
                    report_error(program, error, debug_requested(arguments))
                continue
            for path in written:
                _write(sys.stdout, str(path))
    return int(failed)


def _bundle(arguments: argparse.Namespace, ready: Callable[[str], TaskBundle] | None) -> TaskBundle:
    if ready is not None and arguments.style is not None:
        return ready(arguments.style)
    return TaskBundle.open(arguments.bundle)


def _stylize_many(arguments: argparse.Namespace, ready: Callable[[str], TaskBundle] | None) -> int:
    from tqdm import tqdm

    from task_bundle.batch import stylize_photos

    (source,) = arguments.inputs
    if isinstance(source, Path) and not source.is_dir():
        raise ImageError(f"{source} is not a folder; --ray takes one")
    if isinstance(arguments.output, Path):
        check_output_folder(arguments.output)
    bundle = _bundle(arguments, ready)
    with tqdm(unit="photo", desc="Stylizing") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        outcome = stylize_photos(
            bundle,
            source,
            arguments.output,
            _rendering(arguments),
            arguments.ray,
            arguments.workers,
            marked=not arguments.unmarked,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    sys.stdout.write(
        f"{arguments.output}: {outcome.stylized} stylized, {outcome.failed} failed,"
        f" {outcome.skipped} done before, {outcome.seconds:g} s\n"
    )
    if outcome.failed:
        sys.stderr.write(f"why photos failed: {arguments.output}/_errors\n")
    return int(outcome.failed > 0)


def _stylize_photo(
    job: _Job, stylizer: FaceStylizer, arguments: argparse.Namespace
) -> Sequence[Path]:
    pictures = _rendering(arguments).render(stylizer, load_image(job.source), str(job.source))
    written = job.targets[: len(pictures)]
    profile = load_color_profile(job.source)
    for target, picture in zip(written, pictures, strict=True):
        save_png(target, picture, arguments.overwrite, profile, not arguments.unmarked)
    return written


def _rendering(arguments: argparse.Namespace) -> Rendering:
    form = COMPOSITE if arguments.composite else CUTOUT if arguments.cutout else FACE
    return Rendering(form, arguments.color_match, arguments.num_faces, arguments.region)


def _stylize_video(
    job: _Job, bundle: TaskBundle, options: FaceStylizerOptions, arguments: argparse.Namespace
) -> Path:
    if arguments.cutout:
        raise VideoError(f"{job.source}: an MP4 cannot be transparent; use --composite for videos")
    if options.num_faces > 1 and not arguments.composite:
        raise VideoError(
            f"{job.source}: a video of the face alone shows one; use --composite for"
            f" {options.num_faces}"
        )
    (target,) = job.targets
    # Each video needs a stylizer of its own, because that tracks faces.
    with FaceStylizer.create_from_bundle(bundle, options) as stylizer, Video(job.source) as video:
        frames = _stylized_frames(video, stylizer, arguments, bundle)
        save_video(
            target, frames, video.fps, job.source, arguments.overwrite, not arguments.unmarked
        )
    return target


def _stylized_frames(
    video: Video, stylizer: FaceStylizer, arguments: argparse.Namespace, bundle: TaskBundle
) -> Iterator[Frame]:
    from tqdm import tqdm

    timestamp = -1
    width, height = picture_size(describe(bundle.stylizer).outputs[0])
    picture = np.zeros((height, width, 3), np.uint8)
    found = False
    bar = tqdm(
        video.frames(),
        total=video.frame_count,
        desc=printable(video.path.name),
        unit="frame",
        leave=False,
    )
    for frame in bar:
        # MediaPipe needs integer milliseconds that increase.
        timestamp = max(timestamp + 1, round(frame.timestamp_ms))
        faces = stylizer.stylize_all(frame.image, None, timestamp)
        found = found or bool(faces)
        if arguments.composite:
            picture = composite(frame.image, faces, **_pasting(arguments))
        elif faces:
            picture = faces[0].image
        yield Frame(picture, frame.timestamp_ms, frame.duration_ms)
    if not found:
        raise NoFaceError(f"no face was found in {video.path}")


def _pasting(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"color_match": arguments.color_match, "region": arguments.region}


def _write(stream: TextIO, line: str) -> None:
    """Writes a line without disturbing the progress bar."""
    from tqdm import tqdm

    # A terminal would obey the control characters in a name; a pipe gets the name as it is.
    tqdm.write(printable(line) if stream.isatty() else line, file=stream)


def _files(path: Path) -> list[Path]:
    """Returns the path itself, or the pictures and videos in the folder."""
    # Unlike `Path.is_dir`, this does not raise for a name that is too long or may not be looked at:
    # the other inputs are stylized all the same.
    if not os.path.isdir(path):
        return [path]
    files = list_files(path, PICTURE_SUFFIXES | VIDEO_SUFFIXES)
    if not files:
        raise ImageError(f"there are no pictures or videos in the folder {path}")
    return files


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _targets(
    source: Path, folder: Path, file: Path | None, arguments: argparse.Namespace
) -> tuple[Path, ...]:
    if _is_video(source):
        return (folder / f"{source.stem if file is None else file.stem}.mp4",)
    names = _rendering(arguments).names(source.name if file is None else file.name)
    return tuple(folder / f"{name}.png" for name in names)


def _check(jobs: Sequence[_Job], overwrite: bool) -> None:
    """Checks, before anything is written, that no output replaces another file."""
    owners: dict[Path, Path] = {}
    # Unlike `Path.resolve`, this accepts links that lead to themselves.
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    for job in jobs:
        for target in job.targets:
            if target in owners:
                raise ImageError(
                    f"{owners[target]} and {job.source} would both be written to {target}"
                )
            owners[target] = job.source
            if (place := os.path.realpath(target)) in sources:
                raise ImageError(
                    f"{target} would replace the input {sources[place]}; choose another output"
                    " folder"
                )
            # An input that is missing is told by its own error.
            if os.path.exists(target) and not overwrite and os.path.exists(job.source):
                raise already_exists(target)
