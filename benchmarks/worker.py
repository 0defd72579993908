"""The process that does the work: one round of all cases, or the memory of a single case.

Each round has a process of its own, because the layout of memory, which differs from process to
process, makes all calls of a process faster or slower; and because a model that crashes then takes
nothing else with it.

The worker reads a request from stdin and writes its answers to stdout; see `benchmarks.messages`.
"""

from __future__ import annotations

import abc
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.case import LITERT, ONE_CORE, Case
from benchmarks.errors import BenchmarkError
from benchmarks.host import allowed_cores
from benchmarks.litert import coverage, make_control
from benchmarks.messages import (
    READY,
    Failure,
    MemoryRequest,
    ModelDetails,
    ModelRequest,
    Prepared,
    PrepareRequest,
    Request,
    TimeRequest,
    Timing,
    WorkItem,
    decode_request,
    encode_answer,
)
from benchmarks.parity import difference
from benchmarks.profiling import profile
from benchmarks.report import Memory
from benchmarks.runners import import_runtime, make_runner, model_input
from benchmarks.subject import LoadedSubject
from task_bundle.errors import TaskBundleError

# The first line of output. If the process ends after it, the case under way is at fault.
# A slow case is called at least this often, for a median, and then stopped after this time.
_MIN_CALLS = 5
_MAX_SECONDS = 1.0
_CONTROL_CALLS = 3
# Exceptions that make a case fail. Any other is an error of the benchmark and ends the process.
_CASE_ERRORS = (
    BenchmarkError,
    TaskBundleError,
    RuntimeError,
    ValueError,
    NotImplementedError,
    ImportError,
    MemoryError,
)

_Request = TypeVar("_Request", bound=Request[Any])


def main() -> None:
    """Reads a request from stdin and writes an answer for each of its items to stdout."""
    request = decode_request(sys.stdin.buffer.read())
    # MediaPipe and LiteRT print to stdout, so that answers need a copy of it for themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = _make_worker(request)
    answers.write(READY)
    answers.flush()
    for item in request.items:
        answer: Any
        try:
            answer = worker.run(item)
        except _CASE_ERRORS as error:
            answer = Failure(" ".join(f"{error}".split())[:500] or type(error).__name__)
        answers.write(encode_answer(answer) + "\n")


def _make_worker(request: Request[Any]) -> _Worker[Any]:
    if isinstance(request, PrepareRequest):
        return _Preparer(request)
    if isinstance(request, TimeRequest):
        return _Timer(request)
    if isinstance(request, MemoryRequest):
        return _MemoryMeter(request)
    assert isinstance(request, ModelRequest)
    return _ModelInspector(request)


class _Worker(abc.ABC, Generic[_Request]):
    """Does the items of one kind of request."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._subjects: dict[str, LoadedSubject] = {}

    @abc.abstractmethod
    def run(self, item: WorkItem) -> Any:
        """Does an item and returns an object of the request's `answer_type`."""

    def _subject(self, item: WorkItem) -> LoadedSubject:
        if item.file not in self._subjects:
            self._subjects[item.file] = LoadedSubject.load(item.file, item.case.subject)
        return self._subjects[item.file]

    def _load(self, item: WorkItem) -> tuple[LoadedSubject, npt.NDArray[Any]]:
        import_runtime(item.case)
        return self._subject(item), np.load(item.input)


class _Preparer(_Worker[PrepareRequest]):
    """Computes the inputs of single models, and the reference result of each case."""

    _number = 0

    def run(self, item: WorkItem) -> Prepared:
        subject, values = self._load(item)
        case, input_file = item.case, item.input
        self._number += 1
        stem = Path(self._request.folder) / f"{self._number}"
        if case.runtime == LITERT:
            if subject.bundle is not None:
                # Only finding the face for the input needs MediaPipe, the case itself does not.
                import_runtime(case.reference())
            values = model_input(case, subject, values)
            input_file = f"{stem}-input.npy"
            np.save(input_file, values)
        runner = make_runner(case.reference(), subject, values)
        try:
            result = runner.result(runner.call())
        finally:
            runner.close()
        reference = f"{stem}-reference.npy"
        np.save(reference, result)
        return Prepared(input_file, reference)


class _Timer(_Worker[TimeRequest]):
    """Times calls, with calls of the drift control before and after."""

    def __init__(self, request: TimeRequest) -> None:
        super().__init__(request)
        self._control = make_control()
        time_calls(self._control.invoke, 2 * _CONTROL_CALLS)

    def run(self, item: WorkItem) -> Timing:
        subject, values = self._load(item)
        case, request = item.case, self._request
        control = time_calls(self._control.invoke, _CONTROL_CALLS)
        with _bound_to_core(case, request.round):
            begin = time.perf_counter_ns()
            runner = make_runner(case, subject, values)
            created = time.perf_counter_ns()
            try:
                raw = runner.call()
                called = time.perf_counter_ns()
                result = runner.result(raw)
                parity = tuple(
                    difference(
                        result,
                        np.load(reference.path),
                        reference.against,
                        case.stage,
                        subject.is_quantized(case.stage),
                    )
                    for reference in item.references
                )
                samples: list[float] = []
                if all(one.passed for one in parity):
                    call = _slowed_down(runner.call, request.slow_down)
                    time_calls(call, request.warm_up)
                    samples = time_calls(call, request.calls)
            finally:
                runner.close()
        control += time_calls(self._control.invoke, _CONTROL_CALLS)
        return Timing(
            creation_ms=_milliseconds(created - begin),
            first_call_ms=_milliseconds(called - created),
            samples_ms=tuple(samples),
            control_ms=tuple(control),
            parity=parity,
        )


class _MemoryMeter(_Worker[MemoryRequest]):
    """Measures the memory of the process, which must be a fresh one that does one case."""

    def run(self, item: WorkItem) -> Memory:
        subject, values = self._load(item)
        with _bound_to_core(item.case, 0):
            Path("/proc/self/clear_refs").write_text("5")  # Resets the peak, VmHWM.
            baseline = _status_bytes("VmRSS")
            runner = make_runner(item.case, subject, values)
            for _ in range(self._request.calls):
                runner.call()
            memory = Memory(
                baseline_bytes=baseline,
                steady_bytes=_status_bytes("VmRSS"),
                peak_bytes=_status_bytes("VmHWM"),
                calls=self._request.calls,
            )
            runner.close()
        return memory


class _ModelInspector(_Worker[ModelRequest]):
    """Counts the operators that XNNPACK runs, and times each operator."""

    def run(self, item: WorkItem) -> ModelDetails:
        model = self._subject(item).models[item.case.stage]
        is_profiled = self._request.profile and item.case.settings.threads == 1
        return ModelDetails(coverage(model), profile(model) if is_profiled else ())


@contextmanager
def _bound_to_core(case: Case, round_number: int) -> Iterator[None]:
    """Binds this thread, and the threads that it starts, to one core if the case asks for it."""
    if case.settings.cores != ONE_CORE or not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = allowed_cores()
    # Each round takes another core, because other programs may be busy on one of them.
    os.sched_setaffinity(0, {cores[round_number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def time_calls(call: Callable[[], Any], count: int) -> list[float]:
    """Times a function call by call.

    Args:
      call: The function.
      count: How often to call it; fewer times, but at least 5, if that takes over a second.

    Returns:
      Milliseconds of each call, rounded to 10 ns.
    """
    times = []
    clock = time.perf_counter_ns
    was_enabled = gc.isenabled()
    # A garbage collection costs time in whichever call it happens, whoever made the garbage.
    gc.collect()
    gc.disable()
    try:
        start = clock()
        for done in range(count):
            begin = clock()
            if done >= _MIN_CALLS and begin - start > 1e9 * _MAX_SECONDS:
                break
            call()
            times.append(clock() - begin)
    finally:
        if was_enabled:
            gc.enable()
    return [_milliseconds(value) for value in times]


def _slowed_down(call: Callable[[], Any], factor: float) -> Callable[[], Any]:
    """Makes a call take longer, to test whether a comparison notices."""
    if factor == 1.0:
        return call
    clock = time.perf_counter_ns

    def slow_call() -> Any:
        begin = clock()
        result = call()
        end = begin + factor * (clock() - begin)
        while clock() < end:
            pass
        return result

    return slow_call


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 5)


def _status_bytes(key: str) -> int:
    """Returns an entry of /proc/self/status, which counts in kB, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key + ":"))


if __name__ == "__main__":
    main()
