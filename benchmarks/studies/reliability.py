"""Can the benchmark's intervals and comparisons be trusted on this machine?

    python -m benchmarks.studies.reliability agreement BUNDLE.task FOLDER [--runs 14]
    python -m benchmarks.studies.reliability planted BUNDLE.task FOLDER [--runs 10]
    python -m benchmarks.studies.reliability overhead BUNDLE.task
    python -m benchmarks.studies.reliability summary FOLDER

`agreement` measures the bundle repeatedly, and `planted` does so with each call made to take 10 %
longer. Both add runs to FOLDER and take about half a minute per run. `summary` counts the pairs of
runs whose p50 agree within the reported interval, those in which `compare` reports no change, and
those in which it finds the planted slow-down. `overhead` takes a minute and compares the timed
calls of the benchmark with a bare loop. All print JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import MEDIAPIPE, ONE_CORE, PORTABLE, Case
from benchmarks.comparison import SLOWER, compare, is_worse
from benchmarks.measuring import Options, Target, measure, stage_cases
from benchmarks.report import Report
from benchmarks.runners import make_runner
from benchmarks.subject import LoadedSubject
from benchmarks.summary import summarize
from benchmarks.worker import time_calls
from task_bundle.media.images import load_image
from task_bundle.sample_photo import sample_photo

_SLOW_DOWN = 1.1
_OPTIONS = Options(rounds=8, calls=8, warm_up=2, memory=False, plain=False, profile=False)
_AGREEMENT, _PLANTED = "run", "planted"
_OVERHEAD_BLOCKS, _OVERHEAD_CALLS = 40, 10


def main() -> None:
    """Runs the sub-command, and prints its result as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, runs in (("agreement", 14), ("planted", 10)):
        adding = commands.add_parser(name)
        adding.add_argument("bundle", type=Path, metavar="BUNDLE.task")
        adding.add_argument("folder", type=Path, metavar="FOLDER")
        adding.add_argument("--runs", type=int, default=runs, help=f"how many to add ({runs})")
        adding.add_argument("--rounds", type=int, default=_OPTIONS.rounds)
        adding.add_argument("--calls", type=int, default=_OPTIONS.calls)
    overhead = commands.add_parser("overhead")
    overhead.add_argument("bundle", type=Path, metavar="BUNDLE.task")
    commands.add_parser("summary").add_argument("folder", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.command == "overhead":
        result = measure_overhead(LoadedSubject.load(arguments.bundle))
    elif arguments.command == "summary":
        result = summarize_runs(*(_load(arguments.folder, name) for name in (_AGREEMENT, _PLANTED)))
    else:
        planted = arguments.command == "planted"
        options = dataclasses.replace(
            _OPTIONS,
            rounds=arguments.rounds,
            calls=arguments.calls,
            slow_down=_SLOW_DOWN if planted else 1.0,
        )
        name = _PLANTED if planted else _AGREEMENT
        result = _add_runs(arguments.bundle, arguments.folder, name, arguments.runs, options)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def _add_runs(bundle: Path, folder: Path, name: str, runs: int, options: Options) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    subject, photo = LoadedSubject.load(bundle), load_image(sample_photo())
    cases = [case for case in stage_cases(subject, photo, options) if _is_measured(case)]
    start = time.monotonic()
    there = len(_files(folder, name))
    for number in range(there, there + runs):
        # Each run has another seed and so another order of the cases, as runs of users have.
        run = dataclasses.replace(options, seed=number)
        report = measure([Target(subject, tuple(cases))], [photo], run, {})
        report.save(folder / f"{name}-{number:03}.json")
        sys.stderr.write(f"{name} {number + 1 - there} of {runs}\n")
    return {"runs": there + runs, "seconds": round(time.monotonic() - start)}


def _is_measured(case: Case) -> bool:
    """Returns whether a case is end to end on one core, or the stylizer on one thread."""
    if case.stage == "end_to_end":
        return case.settings.cores == ONE_CORE
    return case.stage == "stylizer" and case.settings.threads == 1


def _files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name}-*.json"))


def _load(folder: Path, name: str) -> list[Report]:
    return [Report.load(path) for path in _files(folder, name)]


def summarize_runs(runs: Sequence[Report], planted: Sequence[Report]) -> dict[str, Any]:
    """Counts how often runs agree, and how often `compare` is right about them.

    Args:
      runs: Runs of the same bundle; the first is paired with the second, the third with the fourth.
      planted: Runs of the same bundle, slowed down; each is compared with the run of `runs` at the
        same position.

    Returns:
      The number of tries, and of those with the right outcome. Agreements are counted by case: the
      p50 of the second run lies in the interval of the first.
    """
    pairs = list(zip(runs[::2], runs[1::2], strict=False))
    agreements: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for first, second in pairs:
        for before, after in zip(first.rows, second.rows, strict=True):
            title = f"{before.stage}, {before.runtime}"
            one, other = summarize(before.rounds), summarize(after.rounds)
            agreements.setdefault(title, []).append(other.p50 in one.p50_interval)
            width = math.log(one.p50_interval.high / one.p50_interval.low) / 2
            widths.setdefault(title, []).append(width)
    found = [
        [change.verdict == SLOWER for change in compare(normal, slow)]
        for normal, slow in zip(runs, planted, strict=False)
    ]
    return {
        "tries": len(pairs),
        "agreements": {title: sum(agreed) for title, agreed in agreements.items()},
        "half_width_of_the_interval_percent": {
            title: round(100 * float(np.median(values)), 2) for title, values in widths.items()
        },
        "compare_silent": sum(not is_worse(compare(a, b)) for a, b in pairs),
        "planted_tries": len(found),
        "planted_found_in_all_cases": sum(all(one) for one in found),
        "planted_found_in_any_case": sum(any(one) for one in found),
    }


def measure_overhead(subject: LoadedSubject) -> dict[str, Any]:
    """Compares the timed calls of the benchmark with a bare loop; blocks of both alternate.

    Args:
      subject: A bundle.

    Returns:
      By runtime: milliseconds per call of the bare loop, and by how many percent the whole loop of
      the benchmark, and the calls that it times, take longer. The latter are medians over pairs of
      blocks, with 95 % confidence intervals.
    """
    photo = load_image(sample_photo())
    cases = stage_cases(subject, photo, _OPTIONS)
    result = {}
    for runtime in (MEDIAPIPE, PORTABLE):
        case = next((c for c in cases if c.stage == "end_to_end" and c.runtime == runtime), None)
        if case is None:
            continue
        runner = make_runner(case, subject, photo)
        bare, whole, timed = [], [], []
        for block in range(_OVERHEAD_BLOCKS + 1):
            # The order alternates, so that drift of the machine within a pair cancels out.
            for is_timed in (True, False) if block % 2 else (False, True):
                begin = time.perf_counter()
                if is_timed:
                    samples = time_calls(runner.call, _OVERHEAD_CALLS)
                    # On a slow machine there may be fewer samples than calls were requested.
                    whole.append(1e3 * (time.perf_counter() - begin) / len(samples))
                    timed.append(float(np.mean(samples)))
                else:
                    for _ in range(_OVERHEAD_CALLS):
                        runner.call()
                    bare.append(1e3 * (time.perf_counter() - begin) / _OVERHEAD_CALLS)
        runner.close()
        # The first block is a warm-up.
        reference = np.array(bare[1:])
        result[runtime] = {
            "bare_ms": round(float(np.median(reference)), 3),
            "loop_percent": _median_and_interval(100 * (np.array(whole[1:]) / reference - 1)),
            "calls_percent": _median_and_interval(100 * (np.array(timed[1:]) / reference - 1)),
        }
    return result


def _median_and_interval(values: Any) -> list[float]:
    """Returns the median and its confidence interval by order statistics, for any distribution."""
    values = np.sort(values)
    count = len(values)
    reach = 0.98 * math.sqrt(count)
    low, high = max(0, math.floor(count / 2 - reach)), min(count - 1, math.ceil(count / 2 + reach))
    return [round(float(v), 2) for v in (np.median(values), values[low], values[high])]


if __name__ == "__main__":
    main()
