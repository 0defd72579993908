"""Measures cases in interleaved rounds, checks their results, and makes a report."""

from __future__ import annotations

import dataclasses
import datetime
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks import parity, report
from benchmarks.case import ALL_CORES, LITERT, MEDIAPIPE, ONE_CORE, PORTABLE, Case
from benchmarks.errors import InvalidArgumentError
from benchmarks.host import allowed_cores, conditions, describe_host
from benchmarks.litert import control_model
from benchmarks.messages import (
    Failure,
    MemoryRequest,
    ModelDetails,
    ModelRequest,
    Prepared,
    PrepareRequest,
    Reference,
    TimeRequest,
    Timing,
    WorkItem,
)
from benchmarks.subject import LoadedSubject
from benchmarks.worker_client import ask
from task_bundle.runtime.native_stylizer import has_native_stylizer

_Photo = npt.NDArray[np.uint8]
_MEMORY_CALLS = 20


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
      rounds: How often each case is measured, every time in a fresh process and in another order.
      calls: Counted calls of a case in a round; fewer, but at least 5, if they take over a second.
      warm_up: Calls of a case in a round that follow the first and are not counted.
      memory: Whether to measure memory as well.
      plain: Whether to run the stylizer without XNNPACK as well.
      profile: Whether to time each operator as well.
      stages: Whether to measure each stage of a bundle, not only all of them together.
      seed: Seed of the order of the cases.
      slow_down: Factor by which each counted call is made to take longer, to test comparisons.
    """

    rounds: int = 10
    calls: int = 10
    warm_up: int = 2
    memory: bool = True
    plain: bool = True
    profile: bool = True
    stages: bool = True
    seed: int = 0
    slow_down: float = 1.0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          InvalidArgumentError: a value is out of its range.
        """
        for name, least in (("rounds", 1), ("calls", 1), ("warm_up", 0), ("slow_down", 1)):
            value = getattr(self, name)
            if value < least:
                raise InvalidArgumentError(f"{name} must be at least {least}, not {value}")


# What a first impression needs: three rounds in about 15 s on two cores.
QUICK = Options(
    rounds=3, calls=5, warm_up=1, memory=False, plain=False, profile=False, stages=False
)


@dataclass(frozen=True)
class Target:
    """A file to measure.

    Attributes:
      subject: The loaded file.
      cases: What to measure of it.
      float32: Name of the subject that is this one's float32 export, whose pictures this one's
        must resemble; None if there is none.
      stored: Picture that the end-to-end cases must return, [side, side, 3] uint8 RGB.
    """

    subject: LoadedSubject
    cases: tuple[Case, ...]
    float32: str | None = None
    stored: _Photo | None = None


def stage_cases(subject: LoadedSubject, photo: _Photo, options: Options) -> tuple[Case, ...]:
    """Lists the cases that show how fast a file is, stage by stage.

    Args:
      subject: The loaded file.
      photo: Photo 0 of the run, [height, width, 3] uint8 RGB.
      options: Whether to run the stylizer without XNNPACK, and each stage alone, as well.

    Returns:
      End to end with each runtime that is installed, and each model alone, on one thread and on as
      many threads as there are cores.
    """
    cores = len(allowed_cores())
    size = (photo.shape[1], photo.shape[0])

    def case(stage: str, runtime: str, **settings: Any) -> Case:
        return Case(subject.description.name, stage, runtime, report.Settings(**settings))

    cases = []
    counts = sorted({1, cores})
    if subject.bundle is not None:
        for threads in counts:
            # MediaPipe uses as many threads as there are cores and has no option for it.
            bound = ONE_CORE if threads == 1 else ALL_CORES
            if has_native_stylizer():
                cases.append(case("end_to_end", MEDIAPIPE, photo=size, cores=bound))
            cases += [
                case("end_to_end", PORTABLE, threads=threads, photo=size, cores=bound),
                case("face_finding", PORTABLE, photo=size, cores=bound),
            ]
        cases.append(case("crop", PORTABLE, photo=size, cores=ONE_CORE))
    if not options.stages and cases:
        return tuple(one for one in cases if one.stage == "end_to_end")
    for stage in subject.models:
        cases += [case(stage, LITERT, threads=n, delegate="xnnpack") for n in counts]
    if options.plain:
        cases.append(case("stylizer", LITERT, threads=1, delegate="none"))
    return tuple(cases)


def measure(
    targets: Sequence[Target],
    photos: Sequence[_Photo],
    options: Options,
    recorded: dict[str, Any],
    progress: Callable[[str], None] = lambda text: None,
) -> report.Report:
    """Measures files on photos.

    Args:
      targets: Files and their cases; `stage_cases` lists the usual ones.
      photos: Photos to which the cases refer by index, [height, width, 3] uint8 RGB.
      options: How to measure.
      recorded: Further entries of the report's `options`.
      progress: Is called with a line that says what is done next.

    Returns:
      The report, with a row for each case. The row of a case that failed has an error.

    Raises:
      InvalidArgumentError: two subjects have the same name.
      WorkerError: no worker process can be started.
      OSError: the temporary folder is full.
    """
    names = [target.subject.description.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(f"two subjects are called {name!r}; rename a file")
    began = datetime.datetime.now(datetime.UTC)
    start = time.monotonic()
    before = conditions()
    with tempfile.TemporaryDirectory(prefix="mm-face-stylizer-benchmark-") as folder:
        session = _Session(targets, photos, options, Path(folder), progress)
        rows = session.run()
    device = describe_host(before=before, after=conditions())
    digest = report.sha256(control_model())[:12]
    return report.Report(
        began=began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.monotonic() - start, 1),
        options=recorded | dataclasses.asdict(options),
        devices=(device,),
        subjects=tuple(target.subject.description for target in targets),
        rows=tuple(dataclasses.replace(row, device=device.name) for row in rows),
        control=f"three 3x3 convolutions of 64 channels, LiteRT, 1 thread ({digest})",
    )


class _PreparationKey(NamedTuple):
    """What the input and the reference result of a case depend on."""

    subject: str
    stage: str
    is_single_model: bool
    faces: int | None
    photo: int

    @classmethod
    def of(cls, case: Case) -> _PreparationKey:
        is_single_model = case.runtime == LITERT
        return cls(case.subject, case.stage, is_single_model, case.settings.faces, case.photo)


class _Session:
    """One run, with its files in a temporary folder."""

    def __init__(
        self,
        targets: Sequence[Target],
        photos: Sequence[_Photo],
        options: Options,
        folder: Path,
        progress: Callable[[str], None],
    ) -> None:
        self._options = options
        self._folder = folder
        self._progress = progress
        for number, photo in enumerate(photos):
            np.save(folder / f"photo-{number}.npy", photo)
        self._items: list[WorkItem] = []
        self._float32: dict[str, str] = {}
        self._stored: dict[str, str] = {}
        for number, target in enumerate(targets):
            name = target.subject.description.name
            file = folder / f"subject-{number}"
            file.write_bytes(target.subject.content)
            if target.float32 is not None:
                self._float32[name] = target.float32
            if target.stored is not None:
                self._stored[name] = str(folder / f"stored-{number}.npy")
                np.save(self._stored[name], target.stored[None])
            self._items += [
                WorkItem(case, str(file), str(folder / f"photo-{case.photo}.npy"))
                for case in target.cases
            ]

    def run(self) -> list[report.Row]:
        """Measures everything; the device of the rows is only filled in afterwards."""
        self._progress(f"{len(self._items)} cases: preparing")
        errors, ready = self._prepare()
        rounds: dict[Case, list[Timing | Failure]] = {item.case: [] for item in ready}
        for number in range(self._options.rounds):
            self._progress(f"round {number + 1} of {self._options.rounds}")
            # A new order in each round, because a case's time depends on the case before it.
            order = random.Random(f"{self._options.seed}/{number}").sample(ready, len(ready))
            for item, answer in zip(order, self._time(order, number), strict=True):
                rounds[item.case].append(answer)
        memory, models = self._measure_memory(ready), self._inspect_models(ready)
        cases = [item.case for item in self._items]
        return [
            _make_row(
                case,
                rounds.get(case, []),
                errors.get(case),
                memory.get(case),
                models.get(case),
            )
            for case in cases
        ]

    def _prepare(self) -> tuple[dict[Case, str], list[WorkItem]]:
        """Makes inputs and reference results; returns errors, and items ready to be measured."""
        # Cases that differ in threads or delegate only have the same input and reference.
        distinct: dict[_PreparationKey, WorkItem] = {}
        for item in self._items:
            distinct.setdefault(_PreparationKey.of(item.case), item)
        answers = ask(PrepareRequest(tuple(distinct.values()), str(self._folder)))
        prepared = dict(zip(distinct, answers, strict=True))
        errors: dict[Case, str] = {}
        ready = []
        for item in self._items:
            answer = prepared[_PreparationKey.of(item.case)]
            if isinstance(answer, Failure):
                errors[item.case] = answer.error
                continue
            references = (
                Reference(parity.PLAIN_KERNELS, answer.reference),
                *self._other_references(item.case, prepared),
            )
            ready.append(dataclasses.replace(item, input=answer.input, references=references))
        return errors, ready

    def _other_references(
        self, case: Case, prepared: dict[_PreparationKey, Prepared | Failure]
    ) -> list[Reference]:
        """Finds the results of the float32 export and the stored picture, where there are any."""
        references = []
        if case.stage in ("end_to_end", "stylizer") and case.subject in self._float32:
            other = dataclasses.replace(case, subject=self._float32[case.subject])
            answer = prepared.get(_PreparationKey.of(other))
            if isinstance(answer, Prepared):
                references.append(Reference(parity.FLOAT32, answer.reference))
        if case.stage == "end_to_end" and case.subject in self._stored:
            references.append(Reference(parity.STORED, self._stored[case.subject]))
        return references

    def _time(self, order: Sequence[WorkItem], number: int) -> list[Timing | Failure]:
        options = self._options
        return ask(
            TimeRequest(tuple(order), number, options.calls, options.warm_up, options.slow_down)
        )

    def _measure_memory(self, ready: Sequence[WorkItem]) -> dict[Case, report.Memory | Failure]:
        """Measures the memory of what apps run: the whole bundle, or the stylizer alone."""
        if not self._options.memory or not Path("/proc/self/clear_refs").exists():
            return {}
        found = {}
        for item in ready:
            case = item.case
            is_stylizer = case.stage == "stylizer" and case.settings.delegate == "xnnpack"
            if case.stage == "end_to_end" or is_stylizer:
                self._progress(f"memory: {case}")
                (found[case],) = ask(MemoryRequest((item,), _MEMORY_CALLS))
        return found

    def _inspect_models(self, ready: Sequence[WorkItem]) -> dict[Case, ModelDetails | Failure]:
        delegated = tuple(
            item
            for item in ready
            if item.case.runtime == LITERT and item.case.settings.delegate == "xnnpack"
        )
        self._progress("operators")
        answers = ask(ModelRequest(delegated, self._options.profile))
        return {item.case: answer for item, answer in zip(delegated, answers, strict=True)}


def _make_row(
    case: Case,
    rounds: Sequence[Timing | Failure],
    error: str | None,
    memory: report.Memory | Failure | None,
    model: ModelDetails | Failure | None,
) -> report.Row:
    """Makes a row of the report from the answers of the worker processes."""
    comparisons: dict[str, report.Parity] = {}
    timings = []
    for number, answer in enumerate(rounds):
        if isinstance(answer, Failure):
            error = error or f"round {number + 1}: {answer.error}"
            continue
        timings.append(answer)
        for one in answer.parity:
            # The report keeps the worst round.
            if one.against not in comparisons or one.mean > comparisons[one.against].mean:
                comparisons[one.against] = one
    wrong = [one for one in comparisons.values() if not one.passed]
    if wrong:
        error = error or (
            f"wrong result: its mean difference from {wrong[0].against} is {wrong[0].mean:g}"
            f" {wrong[0].unit}; at most {wrong[0].limit:g} is allowed"
        )
    return report.Row(
        device="here",
        subject=case.subject,
        stage=case.stage,
        runtime=case.runtime,
        settings=case.settings,
        rounds=() if error else tuple(_make_round(timing) for timing in timings),
        parity=tuple(comparisons.values()),
        memory=None if isinstance(memory, Failure) else memory,
        coverage=model.coverage if isinstance(model, ModelDetails) else None,
        profile=model.profile if isinstance(model, ModelDetails) else (),
        error=error,
    )


def _make_round(timing: Timing) -> report.Round:
    return report.Round(
        samples_ms=timing.samples_ms,
        control_ms=timing.control_ms,
        creation_ms=timing.creation_ms,
        first_call_ms=timing.first_call_ms,
    )
