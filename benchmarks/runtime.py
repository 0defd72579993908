"""Speed and memory of the FaceStylizer, portable against native.

    python -m benchmarks.runtime latency BUNDLE.task PHOTO ... [--rounds N] [--cores N]
    python -m benchmarks.runtime memory BUNDLE.task PHOTO [--backend portable] [--calls 10000]

Latency is end to end, from the picture file to the stylized array. For each photo Google's own task
(where the installed mediapipe has it), our native backend and the portable one take turns, so that
a machine that drifts drifts for all of them; the ratio is that of one turn. The process is bound to
one core (Linux only), because MediaPipe chooses its number of threads itself. The stages are
measured one by one, in the same turns; MediaPipe finds faces and landmarks in one call, so that the
detector's share is taken from a FaceDetector with the same model.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from task_bundle import (
    FaceFinder,
    FaceModels,
    FaceStylizer,
    FaceStylizerOptions,
    TaskBundle,
    load_image,
)
from task_bundle.mediapipe_import import import_mediapipe
from task_bundle.native_stylizer import has_native_stylizer
from task_bundle.stylizer_model import StylizerModel

_WARM_UP_ROUNDS = 2
_WARM_UP_CALLS = 500


class _Stages:
    """The portable backend, taken apart."""

    def __init__(self, bundle: TaskBundle, stack: ExitStack):
        self._mediapipe = import_mediapipe()
        tasks = self._mediapipe.tasks
        models = FaceModels(bundle.detector, bundle.landmarks, "the bundle")
        self._finder = stack.enter_context(FaceFinder(models, max_faces=1))
        base = tasks.BaseOptions(model_asset_buffer=bundle.detector)
        options = tasks.vision.FaceDetectorOptions(base_options=base)
        self._detector = stack.enter_context(tasks.vision.FaceDetector.create_from_options(options))
        self._model = StylizerModel(bundle.stylizer)

    def run(self, photo: pathlib.Path) -> dict[str, float]:
        """Milliseconds by stage, for a photo with a face."""
        clock = _Clock()
        pixels = load_image(photo)
        clock.stop("decode")
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
        )
        self._detector.detect(image)
        clock.stop("detect")
        face = self._finder.find(pixels)[0]
        clock.stop("landmarks")
        crop = face.crop.crop(pixels, self._model.input_size)
        clock.stop("crop")
        values = self._model.to_values(crop)
        clock.stop("convert")
        values = self._model.invoke(values)
        clock.stop("stylizer")
        self._model.to_picture(values)
        clock.stop("convert")
        clock.milliseconds["landmarks"] -= clock.milliseconds["detect"]
        return clock.milliseconds


class _Clock:
    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        passed = 1e3 * (now - self._begin)
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + passed
        self._begin = now


def latency(bundle: TaskBundle, photos: list[pathlib.Path], rounds: int) -> dict[str, Any]:
    """Compares the ways to run a bundle.

    Args:
      bundle: The bundle.
      photos: Picture files; those without a face are left out.
      rounds: Turns a photo that count; two more warm up.

    Returns:
      Milliseconds, ratios to Google's task, and the portable stages.
    """
    with ExitStack() as stack:
        ways: dict[str, Callable[[pathlib.Path], Any]] = {}
        if has_native_stylizer():
            ways["google"] = _google(bundle, stack)
        for backend in ("native", "portable") if has_native_stylizer() else ("portable",):
            options = FaceStylizerOptions(backend=backend)
            ways[backend] = stack.enter_context(FaceStylizer(bundle, options)).stylize
        stages = _Stages(bundle, stack)
        times: dict[str, list[float]] = {name: [] for name in ways}
        parts: list[dict[str, float]] = []
        usable = [photo for photo in photos if ways["portable"](photo) is not None]
        if not usable:
            raise SystemExit("there is no face in any of the photos")
        for turn in range(rounds + _WARM_UP_ROUNDS):
            for photo in usable:
                # Each turn begins with another one: none always runs into a warm or cold cache.
                order = [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]
                for name in order:
                    clock = _Clock()
                    ways[name](photo)
                    clock.stop("all")
                    if turn >= _WARM_UP_ROUNDS:
                        times[name].append(clock.milliseconds["all"])
                part = stages.run(photo)
                if turn >= _WARM_UP_ROUNDS:
                    parts.append(part)
    report: dict[str, Any] = {"photos": len(usable), "rounds": rounds}
    for name, values in times.items():
        report[name] = _summary(values)
        if "google" in times and name != "google":
            ratios = [a / b for a, b in zip(values, times["google"], strict=True)]
            report[name]["over_google"] = round(statistics.median(ratios), 3)
    medians = {stage: statistics.median(part[stage] for part in parts) for stage in parts[0]}
    report["portable_stages_median_ms"] = {k: round(v, 2) for k, v in medians.items()}
    # Turn by turn, as above.
    shares = [sum(p.values()) / t for p, t in zip(parts, times["portable"], strict=True)]
    report["stages_over_portable"] = round(statistics.median(shares), 3)
    return report


def _google(bundle: TaskBundle, stack: ExitStack) -> Callable[[pathlib.Path], Any]:
    mediapipe = import_mediapipe()
    tasks = mediapipe.tasks
    base = tasks.BaseOptions(model_asset_buffer=bundle.to_bytes())
    options = tasks.vision.FaceStylizerOptions(base_options=base)
    task = stack.enter_context(tasks.vision.FaceStylizer.create_from_options(options))

    def run(photo: pathlib.Path) -> Any:
        pixels = load_image(photo)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        result = task.stylize(image)
        return None if result is None else np.array(result.numpy_view())

    return run


def _summary(values: list[float]) -> dict[str, Any]:
    quartiles = statistics.quantiles(values) if len(values) > 1 else [values[0]] * 3
    return {
        "median_ms": round(quartiles[1], 2),
        "quartiles_ms": [round(quartiles[0], 2), round(quartiles[2], 2)],
    }


def memory(bundle: TaskBundle, photo: pathlib.Path, backend: str, calls: int) -> dict[str, Any]:
    """Follows the process's resident memory over many calls.

    Every fourth call is a frame of a video, where the backend is portable.

    Args:
      bundle: The bundle.
      photo: A picture file with a face.
      backend: 'native' or 'portable'.
      calls: How many calls count; 500 more warm up.

    Returns:
      MiB after the warm-up and at the end, and their difference.
    """
    pixels = load_image(photo)
    with FaceStylizer(bundle, FaceStylizerOptions(backend=backend)) as stylizer:

        def work(numbers: range) -> Iterator[float]:
            for number in numbers:
                if backend == "portable" and number % 4 == 0:
                    stylizer.stylize_for_video(pixels, 33 * number)
                else:
                    stylizer.stylize(pixels)
                if number % 100 == 99:
                    yield _resident_mib()

        before = list(work(range(_WARM_UP_CALLS)))[-1]
        after = list(work(range(_WARM_UP_CALLS, _WARM_UP_CALLS + calls)))
    return {
        "backend": backend,
        "calls": calls,
        "after_warm_up_mib": round(before, 1),
        "at_the_end_mib": round(after[-1], 1),
        "greatest_mib": round(max(after), 1),
        "growth_mib": round(after[-1] - before, 1),
    }


def _resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("latency", help="portable against native, and the stages")
    speed.add_argument("bundle", type=pathlib.Path, metavar="BUNDLE.task")
    speed.add_argument("photos", type=pathlib.Path, nargs="+", metavar="PHOTO")
    speed.add_argument("--rounds", type=int, default=5, help="counted turns a photo (5)")
    speed.add_argument("--cores", type=int, default=1, help="cores that may be used (1); 0: all")
    space = commands.add_parser("memory", help="resident memory over many calls")
    space.add_argument("bundle", type=pathlib.Path, metavar="BUNDLE.task")
    space.add_argument("photo", type=pathlib.Path, metavar="PHOTO")
    space.add_argument("--backend", choices=["native", "portable"], default="portable")
    space.add_argument("--calls", type=int, default=10_000, help="calls that count (10000)")
    arguments = parser.parse_args()
    bundle = TaskBundle.open(arguments.bundle)
    if arguments.command == "latency":
        if arguments.cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
        report = latency(bundle, arguments.photos, arguments.rounds)
    else:
        report = memory(bundle, arguments.photo, arguments.backend, arguments.calls)
    version = getattr(import_mediapipe(), "__version__", "unknown")
    sys.stdout.write(json.dumps({"mediapipe": version, **report}, indent=2) + "\n")


if __name__ == "__main__":
    main()
