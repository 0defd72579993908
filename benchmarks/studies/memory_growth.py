"""Does the FaceStylizer leak memory over thousands of calls?

    python -m benchmarks.studies.memory_growth BUNDLE.task PHOTO [--backend portable] [--calls N]

Compares the resident memory of the process after a warm-up with that at the end, and prints both as
JSON. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from task_bundle import FaceStylizer, FaceStylizerOptions, TaskBundle, load_image
from task_bundle.mediapipe_import import import_mediapipe

_WARM_UP_CALLS = 500


def measure(bundle: TaskBundle, photo: pathlib.Path, backend: str, calls: int) -> dict[str, Any]:
    """Measures the process's resident memory over many calls.

    With the portable backend, every fourth call is a frame of a video.

    Args:
      bundle: The bundle.
      photo: A picture file with a face.
      backend: 'native' or 'portable'.
      calls: Number of counted calls; 500 more warm up.

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
    """Measures the memory, and prints it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=pathlib.Path, metavar="BUNDLE.task")
    parser.add_argument("photo", type=pathlib.Path, metavar="PHOTO")
    parser.add_argument("--backend", choices=["native", "portable"], default="portable")
    parser.add_argument("--calls", type=int, default=10_000, help="counted calls (10000)")
    arguments = parser.parse_args()
    bundle = TaskBundle.open(arguments.bundle)
    report = measure(bundle, arguments.photo, arguments.backend, arguments.calls)
    version = getattr(import_mediapipe(), "__version__", "unknown")
    sys.stdout.write(json.dumps({"mediapipe": version, **report}, indent=2) + "\n")


if __name__ == "__main__":
    main()
