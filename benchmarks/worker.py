"""The process that does the work: a round's cases one after the other, or one case's memory.

A process of its own for each round, because how memory happens to be laid out speeds all calls of a
process up or slows them down; and because a model that crashes takes nothing else with it.

Reads a request as JSON from stdin and answers each case with one line of JSON.
"""

from __future__ import annotations

import abc
import dataclasses
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.case import LITERT, ONE_CORE, Case
from benchmarks.host import allowed_cores
from benchmarks.litert import coverage, make_control
from benchmarks.parity import difference
from benchmarks.profiling import profile
from benchmarks.runners import RunnerError, import_runtime, make_runner, model_input
from benchmarks.subject import LoadedSubject
from task_bundle.errors import BundleError, FaceModelsError, ImageError

# The first line of an answer: what comes after it is the fault of a case.
READY = "ready"
# Slow cases: enough calls for a median, and no more.
_LEAST_CALLS = 5
_LONG_ENOUGH_S = 1.0
_CONTROL_CALLS = 3
# What a case may fail of without the fault being the harness's.
_FAILURES = (
    BundleError,
    FaceModelsError,
    ImageError,
    RunnerError,
    RuntimeError,
    ValueError,
    NotImplementedError,
    ImportError,
    MemoryError,
)


def main() -> None:
    """Answers the request on stdin."""
    request = json.load(sys.stdin)
    # MediaPipe and LiteRT write to the process's stdout as they like.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    work: dict[str, type[_Work]] = {
        "prepare": _Preparing,
        "time": _Timing,
        "memory": _Memory,
        "models": _Models,
    }
    worker = work[request["kind"]](request)
    answers.write(json.dumps(READY) + "\n")
    for values in request["cases"]:
        try:
            answer = worker.run(Case.from_dict(values))
        except _FAILURES as error:
            answer = {"error": " ".join(f"{error}".split())[:500] or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")


class _Work(abc.ABC):
    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._subjects: dict[str, LoadedSubject] = {}

    @abc.abstractmethod
    def run(self, case: Case) -> dict[str, Any]:
        """Does a case and returns the answer."""

    def _subject(self, case: Case) -> LoadedSubject:
        if case.file not in self._subjects:
            self._subjects[case.file] = LoadedSubject.load(case.file, case.subject)
        return self._subjects[case.file]

    def _load(self, case: Case) -> tuple[LoadedSubject, npt.NDArray[Any]]:
        import_runtime(case)
        return self._subject(case), np.load(case.input)

    @contextmanager
    def _bound(self, case: Case) -> Iterator[None]:
        """Threads that are made in the `with` block inherit the binding of this one."""
        if case.settings.cores != ONE_CORE or not hasattr(os, "sched_setaffinity"):
            yield
            return
        cores = allowed_cores()
        # Another core in each round: one of them may be somebody else's, too.
        os.sched_setaffinity(0, {cores[self._request["round"] % len(cores)]})
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)


class _Preparing(_Work):
    """Computes inputs of single models, and what every case's result must be like."""

    _number = 0

    def run(self, case: Case) -> dict[str, Any]:
        subject, values = self._load(case)
        self._number += 1
        name = Path(self._request["folder"]) / f"{self._number}"
        answer = {"input": case.input}
        if case.runtime == LITERT:
            if subject.bundle is not None:
                # Finding the face takes MediaPipe, for which the case itself has no use.
                import_runtime(case.plain())
            values = model_input(case, subject, values)
            answer["input"] = f"{name}-input.npy"
            np.save(answer["input"], values)
        runner = make_runner(case.plain(), subject, values)
        try:
            result = runner.result(runner.call())
        finally:
            runner.close()
        answer["reference"] = f"{name}-reference.npy"
        np.save(answer["reference"], result)
        return answer


class _Timing(_Work):
    """Counts calls, the drift control's before and after."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__(request)
        self._control = make_control()
        time_calls(self._control.invoke, 2 * _CONTROL_CALLS)

    def run(self, case: Case) -> dict[str, Any]:
        subject, values = self._load(case)
        control = time_calls(self._control.invoke, _CONTROL_CALLS)
        with self._bound(case):
            begin = time.perf_counter_ns()
            runner = make_runner(case, subject, values)
            created = time.perf_counter_ns()
            try:
                raw = runner.call()
                called = time.perf_counter_ns()
                parity = [
                    difference(
                        runner.result(raw),
                        np.load(path),
                        against,
                        case.stage,
                        subject.is_quantized(case.stage),
                    )
                    for against, path in self._request["references"].get(str(case), {}).items()
                ]
                samples = []
                if all(one.passed for one in parity):
                    call = _slowed(runner.call, self._request["slow_down"])
                    time_calls(call, self._request["warm_up"])
                    samples = time_calls(call, self._request["calls"])
            finally:
                runner.close()
        control += time_calls(self._control.invoke, _CONTROL_CALLS)
        return {
            "creation_ms": _milliseconds(created - begin),
            "first_call_ms": _milliseconds(called - created),
            "samples_ms": samples,
            "control_ms": control,
            "parity": [dataclasses.asdict(one) for one in parity],
        }


class _Memory(_Work):
    """Follows the process's memory; for a process that does one case."""

    def run(self, case: Case) -> dict[str, Any]:
        subject, values = self._load(case)
        with self._bound(case):
            Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
            baseline = _status("VmRSS")
            runner = make_runner(case, subject, values)
            calls = self._request["calls"]
            for _ in range(calls):
                runner.call()
            answer = {
                "baseline_bytes": baseline,
                "steady_bytes": _status("VmRSS"),
                "peak_bytes": _status("VmHWM"),
                "calls": calls,
            }
            runner.close()
        return answer


class _Models(_Work):
    """Looks into models: what XNNPACK takes of them, and what each operator takes."""

    def run(self, case: Case) -> dict[str, Any]:
        model = self._subject(case).models[case.stage]
        answer: dict[str, Any] = {"coverage": dataclasses.asdict(coverage(model))}
        if self._request["profile"] and case.settings.threads == 1:
            answer["profile"] = [dataclasses.asdict(one) for one in profile(model)]
        return answer


def time_calls(call: Callable[[], Any], count: int) -> list[float]:
    """Times a function call by call.

    Args:
      call: the function.
      count: how many calls; from `_LEAST_CALLS` on fewer if they take long.

    Returns:
      Milliseconds, to the hundredth of a microsecond.
    """
    times = []
    clock = time.perf_counter_ns
    collecting = gc.isenabled()
    # A collection belongs to whoever made the garbage, not to the call that it happens in.
    gc.collect()
    gc.disable()
    try:
        start = clock()
        for done in range(count):
            begin = clock()
            if done >= _LEAST_CALLS and begin - start > 1e9 * _LONG_ENOUGH_S:
                break
            call()
            times.append(clock() - begin)
    finally:
        if collecting:
            gc.enable()
    return [_milliseconds(value) for value in times]


def _slowed(call: Callable[[], Any], factor: float) -> Callable[[], Any]:
    """Makes a call take longer, to show that a comparison notices."""
    if factor == 1.0:
        return call
    clock = time.perf_counter_ns

    def slowed() -> Any:
        begin = clock()
        result = call()
        end = begin + factor * (clock() - begin)
        while clock() < end:
            pass
        return result

    return slowed


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 5)


def _status(key: str) -> int:
    """Bytes of an entry of /proc/self/status, which counts kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key + ":"))


if __name__ == "__main__":
    main()
