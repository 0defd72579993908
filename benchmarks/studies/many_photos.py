"""How fast are many photos stylized by one process and by several, and does memory grow?

    python -m benchmarks.studies.many_photos ink.task --photos 5000 -o many_photos.json

Photos are variations of the portrait that matplotlib ships, 512 x 600 pixels. They are stylized in
one process without Ray, then by Ray with one worker and with as many as there are cores, in turns,
on a part of the photos; then all photos by all workers, while their memory is watched. The machine
must do nothing else. The result has the rates, their ratio, and the core hours of a million photos.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from task_bundle.batch import PhotoStylizer, stylize_photos
from task_bundle.bundle import TaskBundle
from task_bundle.command_line import check_output_files, positive_int
from task_bundle.files import atomic_write
from task_bundle.sample_photo import sample_photo

_MEBIBYTE = 2**20
_WATCH_SECONDS = 2.0
# The start of the workers is not part of the rate: it is measured on the second part of a run.
_WARM_UP = 64


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photos", type=positive_int, default=5000, help="for memory (5000)")
    parser.add_argument("--timed", type=positive_int, default=500, help="a timed run (500)")
    parser.add_argument("--rounds", type=positive_int, default=3, help="timed runs of each (3)")
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--overwrite", action="store_true")
    arguments = parser.parse_args()
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_photos(folder / "few", arguments.timed)
        _write_photos(folder / "many", arguments.photos)
        rates: dict[str, list[float]] = {"one process": [], "1 worker": [], f"{cores} workers": []}
        for number in range(arguments.rounds):
            _say(f"round {number + 1} of {arguments.rounds}")
            target = folder / f"out-{number}"
            rates["one process"].append(_one_process(arguments.bundle, folder / "few", target))
            for workers in sorted({1, cores}):
                target = folder / f"out-{number}-{workers}"
                label = "1 worker" if workers == 1 else f"{cores} workers"
                rates[label].append(_ray(arguments.bundle, folder / "few", target, workers)[0])
        _say(f"{arguments.photos} photos, watching memory")
        _, memory = _ray(arguments.bundle, folder / "many", folder / "out", cores)
    medians = {label: statistics.median(values) for label, values in rates.items() if values}
    base, most = medians["one process"], medians[f"{cores} workers" if cores > 1 else "1 worker"]
    result = {
        "cores": cores,
        "load_before": os.getloadavg()[0],
        "photos_a_second": rates,
        "times_one_process": round(most / base, 3),
        "core_hours_of_a_million": round(1e6 / (most / cores) / 3600, 1),
        "memory_mib": memory,
    }
    text = json.dumps(result, indent=1) + "\n"
    atomic_write(arguments.output, text.encode(), arguments.overwrite)
    quarter = max(1, len(memory) // 4)
    sys.stdout.write(
        f"{most:.1f} photos a second with {cores} workers, {most / base:.2f} times one process"
        f" ({base:.1f}); a million photos take {result['core_hours_of_a_million']} core hours;"
        f" memory of the largest worker {statistics.median(memory[quarter : 2 * quarter]):.0f} MiB"
        f" in the second quarter, {statistics.median(memory[-quarter:]):.0f} MiB in the last\n"
    )


def _write_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    with Image.open(sample_photo()) as image:
        for number in range(count):
            turned = image.rotate(10.0 * number / count, Image.Resampling.BICUBIC)
            turned.save(folder / f"{number:06}.jpg", quality=90)


def _one_process(bundle: Path, source: Path, target: Path) -> float:
    """Returns photos a second of what a worker does, without Ray."""
    names = sorted(path.name for path in source.iterdir())
    work = PhotoStylizer(str(bundle), str(source), str(target))
    work({"photo": np.array(names[:_WARM_UP], dtype=object)})
    began = time.monotonic()
    work({"photo": np.array(names[_WARM_UP:], dtype=object)})
    return len(names[_WARM_UP:]) / (time.monotonic() - began)


def _ray(bundle: Path, source: Path, target: Path, workers: int) -> tuple[float, list[float]]:
    """Returns photos a second after the workers have started, and memory of the largest worker."""
    marks: list[tuple[float, int]] = []
    memory: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH_SECONDS):
            if largest := max(_resident(), default=0.0):
                memory.append(round(largest, 1))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    stylize_photos(
        TaskBundle.open(bundle),
        source,
        target,
        workers=workers,
        progress=lambda done, total: marks.append((time.monotonic(), done)),
    )
    ended.set()
    watcher.join()
    first = next(index for index, (_, done) in enumerate(marks) if done >= _WARM_UP)
    (began, before), (end, after) = marks[first], marks[-1]
    return (after - before) / (end - began), memory


def _resident() -> list[float]:
    """Returns the resident memory of each worker in MiB."""
    sizes = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if not (folder / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                continue
            pages = int((folder / "statm").read_text().split()[1])
        except OSError:
            continue
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE)
    return sizes


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
