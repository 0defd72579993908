"""How fast are many photos stylized by one process and by several, and does memory grow?

    python -m benchmarks.studies.many_photos ink.task --photos 5000 -o many_photos.json

Photos are variations of the portrait that matplotlib ships, 512 x 600 pixels. They are stylized in
one process without Ray, then by Ray with one worker and with as many as there are cores, in turns,
on a part of the photos; then all photos by all workers, while memory is watched. The result has the
rates with and without the start of the workers, their ratio, the core hours of a million photos,
and the memory of all that runs. For rates the machine must do nothing else; `--rounds 0` watches
memory alone, and `--photos 0` measures rates alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from PIL import Image

from task_bundle.batch import PhotoStylizer, stylize_photos
from task_bundle.bundle import TaskBundle
from task_bundle.command_files import check_output_files
from task_bundle.command_line import index, positive_int
from task_bundle.files import atomic_write
from task_bundle.sample_photo import sample_photo

_MEBIBYTE: Final = 2**20
_WATCH_SECONDS: Final = 5.0
# The start of the workers is not part of the rate: it is measured on what comes after these photos.
_WARM_UP: Final = 64
_ONE_PROCESS: Final = "one process"


@dataclasses.dataclass(frozen=True)
class Rate:
    """Photos a second.

    Attributes:
      running: After the start, which is over when `_WARM_UP` photos have been stylized.
      whole: Of the whole run, with the start.
    """

    running: float
    whole: float


@dataclasses.dataclass(frozen=True)
class MemorySample:
    """Resident memory at one moment, in MiB.

    Attributes:
      seconds: Time since the beginning.
      photos: Photos that have been stylized by then.
      driver: Memory of this process.
      workers: Memory of each of Ray's workers, the largest first.
      ray: Memory of Ray's own processes together.
    """

    seconds: float
    photos: int
    driver: float
    workers: tuple[float, ...]
    ray: float


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photos", type=index, default=5000, help="for memory (5000); 0: none")
    parser.add_argument("--timed", type=positive_int, default=500, help="a timed run (500)")
    parser.add_argument("--rounds", type=index, default=3, help="timed runs of each (3); 0: none")
    parser.add_argument("--workers", type=positive_int, help="Ray's workers (one a core)")
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--overwrite", action="store_true")
    arguments = parser.parse_args()
    if arguments.rounds and arguments.timed <= _WARM_UP:
        parser.error(
            f"--timed is {arguments.timed}; {_WARM_UP} photos are passed over at the start"
        )
    check_output_files(arguments.output, overwrite=arguments.overwrite)
    cores = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {"cores": cores, "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = arguments.workers or cores
        if arguments.rounds:
            result |= _rates(arguments.bundle, folder, arguments.timed, arguments.rounds, workers)
        if arguments.photos:
            result |= _memory(arguments.bundle, folder, arguments.photos, workers)
    text = json.dumps(result, indent=1) + "\n"
    atomic_write(arguments.output, text.encode(), arguments.overwrite)


def _rates(bundle: Path, folder: Path, photos: int, rounds: int, workers: int) -> dict[str, Any]:
    """Compares one process with Ray's workers, and prints the outcome."""
    source = folder / "few"
    _write_photos(source, photos)
    rates: dict[str, list[Rate]] = {}
    for number in range(rounds):
        _say(f"round {number + 1} of {rounds}")
        target = folder / f"out-{number}"
        rates.setdefault(_ONE_PROCESS, []).append(_one_process(bundle, source, target))
        for count in sorted({1, workers}):
            target = folder / f"out-{number}-{count}"
            label = _label(count)
            rates.setdefault(label, []).append(_with_ray(bundle, source, target, count))
            _say(f"{label}: {rates[label][-1]}; {_ONE_PROCESS}: {rates[_ONE_PROCESS][-1]}")
    running = {label: statistics.median(r.running for r in all) for label, all in rates.items()}
    whole = {label: statistics.median(r.whole for r in all) for label, all in rates.items()}
    most = _label(workers)
    hours = 1e6 / (running[most] / workers) / 3600
    sys.stdout.write(
        f"{running[most]:.1f} photos a second with {workers} workers,"
        f" {running[most] / running[_ONE_PROCESS]:.2f} times one process"
        f" ({running[_ONE_PROCESS]:.1f}); with the start {whole[most]:.1f},"
        f" {whole[most] / whole[_ONE_PROCESS]:.2f} times ({whole[_ONE_PROCESS]:.1f});"
        f" a million photos take {hours:.1f} core hours\n"
    )
    return {
        "photos_a_second": {
            label: [dataclasses.asdict(rate) for rate in all] for label, all in rates.items()
        },
        "times_one_process": round(running[most] / running[_ONE_PROCESS], 3),
        "times_one_process_with_start": round(whole[most] / whole[_ONE_PROCESS], 3),
        "core_hours_of_a_million": round(hours, 1),
    }


def _memory(bundle: Path, folder: Path, photos: int, workers: int) -> dict[str, Any]:
    """Watches memory over all photos, and prints how it grew."""
    source = folder / "many"
    _write_photos(source, photos)
    _say(f"{photos} photos, watching memory")
    with _MemoryWatch() as watch:
        stylize_photos(
            TaskBundle.open(bundle),
            source,
            folder / "out",
            workers=workers,
            progress=lambda done, total: watch.set_photos(done),
        )
    samples = watch.samples
    for share in (0.1, 0.25, 0.5, 0.75, 0.99):
        sample = next((s for s in samples if s.photos >= share * photos), samples[-1])
        _say(json.dumps(dataclasses.asdict(sample)))
    fifth = [s for s in samples if photos / 5 <= s.photos < 2 * photos / 5]
    last = [s for s in samples if s.photos >= 4 * photos / 5]
    for label, of in (
        ("this process", lambda s: s.driver),
        ("the largest worker", lambda s: max(s.workers, default=0.0)),
        ("Ray's own processes", lambda s: s.ray),
    ):
        early, late = (statistics.median(map(of, part)) if part else 0 for part in (fifth, last))
        sys.stdout.write(
            f"{label}: {early:.0f} MiB in the second fifth of {photos} photos,"
            f" {late:.0f} MiB in the last\n"
        )
    return {"photos": photos, "memory_mib": [dataclasses.asdict(sample) for sample in samples]}


def _label(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _write_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    with Image.open(sample_photo()) as image:
        for number in range(count):
            turned = image.rotate(10.0 * number / count, Image.Resampling.BICUBIC)
            turned.save(folder / f"{number:06}.jpg", quality=90)


def _one_process(bundle: Path, source: Path, target: Path) -> Rate:
    """Measures what a worker does, without Ray."""
    names = sorted(path.name for path in source.iterdir())
    began = time.monotonic()
    work = PhotoStylizer(str(bundle), str(source), str(target))
    work({"photo": np.array(names[:_WARM_UP], dtype=object)})
    warm = time.monotonic()
    work({"photo": np.array(names[_WARM_UP:], dtype=object)})
    end = time.monotonic()
    return _rate(len(names), began, _WARM_UP, warm, end)


def _with_ray(bundle: Path, source: Path, target: Path, workers: int) -> Rate:
    """Measures Ray's workers."""
    marks: list[tuple[float, int]] = []
    began = time.monotonic()
    stylize_photos(
        TaskBundle.open(bundle),
        source,
        target,
        workers=workers,
        progress=lambda done, total: marks.append((time.monotonic(), done)),
    )
    warm, before = next((moment, done) for moment, done in marks if done >= _WARM_UP)
    end, photos = marks[-1]
    return _rate(photos, began, before, warm, end)


def _rate(photos: int, began: float, warmed: int, warm: float, end: float) -> Rate:
    return Rate(round((photos - warmed) / (end - warm), 2), round(photos / (end - began), 2))


class _MemoryWatch:
    """Samples the memory of this process, of Ray's workers and of Ray, in a thread."""

    def __init__(self) -> None:
        self.samples: list[MemorySample] = []
        self._photos = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def set_photos(self, done: int) -> None:
        """Sets how many photos have been stylized."""
        self._photos = done

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(_WATCH_SECONDS):
            workers, ray = [], 0.0
            for pid in _children(os.getpid()):
                name, size = _process(pid)
                if name.startswith(b"ray::MapWorker"):
                    workers.append(size)
                else:
                    ray += size
            self.samples.append(
                MemorySample(
                    round(time.monotonic() - began, 1),
                    self._photos,
                    _process(os.getpid())[1],
                    tuple(sorted(workers, reverse=True)),
                    round(ray, 1),
                )
            )


def _children(root: int) -> list[int]:
    """Returns the ids of the processes that a process has started, and of theirs."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def _process(pid: int) -> tuple[bytes, float]:
    """Returns the name of a process, and its resident memory in MiB; zero if it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        name = (folder / "cmdline").read_bytes()
    except OSError:
        return b"", 0.0
    return name, round(pages * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE, 1)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
