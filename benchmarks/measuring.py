"""Measuring: cases in interleaved rounds, their results checked, and a report of it all."""

from __future__ import annotations

import dataclasses
import datetime
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import parity, report
from benchmarks.case import ALL_CORES, LITERT, MEDIAPIPE, ONE_CORE, PORTABLE, Case
from benchmarks.host import allowed_cores, conditions, describe_host
from benchmarks.litert import control_model
from benchmarks.subject import LoadedSubject
from benchmarks.worker_client import ask
from task_bundle.runtime.native_stylizer import has_native_stylizer

_Photo = npt.NDArray[np.uint8]
_MEMORY_CALLS = 20


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
      rounds: how often every case is measured, in a fresh process each time, in another order.
      calls: counted calls of a case in a round; at least 5, if they take more than a second.
      warm_up: calls of a case in a round, after the first, that are not counted.
      memory: whether to measure memory as well.
      plain: whether to run the stylizer without XNNPACK as well.
      profile: whether to time operators one by one as well.
      seed: of the order of the cases.
      slow_down: factor by which every counted call is made to take longer, to try comparisons.
    """

    rounds: int = 10
    calls: int = 10
    warm_up: int = 2
    memory: bool = True
    plain: bool = True
    profile: bool = True
    seed: int = 0
    slow_down: float = 1.0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          ValueError: one is out of its range.
        """
        for name, least in (("rounds", 1), ("calls", 1), ("warm_up", 0), ("slow_down", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")


@dataclass(frozen=True)
class Target:
    """A file to measure, on photos.

    Attributes:
      subject: the file, read.
      cases: what to do with it, their `input` the photo's place in the photos.
      float32: the subject's name whose pictures this one's must resemble; None if there is none.
      stored: the picture that end-to-end cases must give, [side, side, 3] uint8 RGB.
    """

    subject: LoadedSubject
    cases: tuple[Case, ...]
    float32: str | None = None
    stored: _Photo | None = None


def stage_cases(subject: LoadedSubject, photo: _Photo, options: Options) -> tuple[Case, ...]:
    """Lists the cases that say how fast a file is, stage by stage.

    Args:
      subject: the file.
      photo: the photo.
      options: whether to leave XNNPACK off as well.

    Returns:
      End to end in every runtime that this Python has, and each model alone, with one thread and
      with as many as there are cores; the cases' input is '0'.
    """
    cores = len(allowed_cores())
    size = (photo.shape[1], photo.shape[0])

    def case(stage: str, runtime: str, **settings: Any) -> Case:
        return Case(subject.description.name, "", stage, runtime, report.Settings(**settings), "0")

    cases = []
    counts = sorted({1, cores})
    if subject.bundle is not None:
        for threads in counts:
            # MediaPipe takes as many threads as there are cores, whatever it is told.
            bound = ONE_CORE if threads == 1 else ALL_CORES
            if has_native_stylizer():
                cases.append(case("end_to_end", MEDIAPIPE, photo=size, cores=bound))
            cases += [
                case("end_to_end", PORTABLE, threads=threads, photo=size, cores=bound),
                case("face_finding", PORTABLE, photo=size, cores=bound),
            ]
        cases.append(case("crop", PORTABLE, photo=size, cores=ONE_CORE))
    for stage in subject.models:
        cases += [case(stage, LITERT, threads=n, delegate="xnnpack") for n in counts]
    if options.plain:
        cases.append(case("stylizer", LITERT, threads=1, delegate="none"))
    return tuple(cases)


def measure(
    targets: Sequence[Target],
    photos: Sequence[_Photo],
    options: Options,
    asked: dict[str, Any],
    progress: Callable[[str], None] = lambda text: None,
) -> report.Report:
    """Measures.

    Args:
      targets: files and what to do with them; `stage_cases` lists the usual.
      photos: [height, width, 3] uint8 RGB; cases name theirs by number.
      options: how.
      asked: what the report says was asked for.
      progress: told what is done next, in a line.

    Returns:
      The report. What failed is a row with an error.

    Raises:
      ValueError: two subjects have the same name.
      OSError: no process can be started, or the temporary folder is full.
    """
    names = [target.subject.description.name for target in targets]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two subjects are called {name!r}; rename a file")
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
        options=asked | dataclasses.asdict(options),
        devices=(device,),
        subjects=tuple(target.subject.description for target in targets),
        rows=tuple(dataclasses.replace(row, device=device.name) for row in rows),
        control=f"three 3x3 convolutions of 64 channels, LiteRT, 1 thread ({digest})",
    )


class _Session:
    """One run, in a temporary folder."""

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
        self._cases: list[Case] = []
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
            for case in target.cases:
                taken = str(folder / f"photo-{case.input}.npy")
                self._cases.append(dataclasses.replace(case, file=str(file), input=taken))

    def run(self) -> list[report.Row]:
        """Does everything; the rows' device is not known here yet."""
        self._progress(f"{len(self._cases)} cases: preparing")
        errors, references = self._prepare()
        ready = [case for case in self._cases if str(case) not in errors]
        answers: dict[str, list[dict[str, Any]]] = {str(case): [] for case in ready}
        for number in range(self._options.rounds):
            self._progress(f"round {number + 1} of {self._options.rounds}")
            # Whoever comes after a heavy case, or last, is another one in each round.
            order = random.Random(f"{self._options.seed}/{number}").sample(ready, len(ready))
            for case, answer in zip(order, self._round(order, number, references), strict=True):
                answers[str(case)].append(answer)
        memory, models = self._memory(ready), self._models(ready)
        return [
            _row(
                case,
                answers.get(str(case), []),
                errors.get(str(case)),
                memory.get(str(case)),
                models.get(str(case), {}),
            )
            for case in self._cases
        ]

    def _prepare(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Makes inputs and references; returns errors and references by case."""
        # Cases that differ in threads or delegate have the same input and reference.
        distinct: dict[str, Case] = {}
        for case in self._cases:
            distinct.setdefault(self._preparation(case), case)
        answers = ask("prepare", list(distinct.values()), folder=str(self._folder))
        prepared = dict(zip(distinct, answers, strict=True))
        errors: dict[str, str] = {}
        references: dict[str, dict[str, str]] = {}
        cases = []
        for case in self._cases:
            answer = prepared[self._preparation(case)]
            if "error" in answer:
                errors[str(case)] = answer["error"]
                cases.append(case)
                continue
            found = {parity.PLAIN_KERNELS: answer["reference"]}
            if case.stage in ("end_to_end", "stylizer") and case.subject in self._float32:
                other = dataclasses.replace(case, subject=self._float32[case.subject])
                sibling = prepared.get(self._preparation(other), {})
                if "reference" in sibling:
                    found[parity.FLOAT32] = sibling["reference"]
            if case.stage == "end_to_end" and case.subject in self._stored:
                found[parity.STORED] = self._stored[case.subject]
            references[str(case)] = found
            cases.append(dataclasses.replace(case, input=answer["input"]))
        self._cases = cases
        return errors, references

    def _preparation(self, case: Case) -> str:
        alone = case.runtime == LITERT
        return f"{case.subject}/{case.stage}/{alone}/{case.settings.faces}/{case.input}"

    def _round(
        self, order: Sequence[Case], number: int, references: dict[str, dict[str, str]]
    ) -> list[dict[str, Any]]:
        return ask(
            "time",
            order,
            round=number,
            calls=self._options.calls,
            warm_up=self._options.warm_up,
            slow_down=self._options.slow_down,
            references=references,
        )

    def _memory(self, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
        """Memory of what apps do: everything, and the stylizer alone."""
        if not self._options.memory or not Path("/proc/self/clear_refs").exists():
            return {}
        found = {}
        for case in cases:
            alone = case.stage == "stylizer" and case.settings.delegate == "xnnpack"
            if case.stage == "end_to_end" or alone:
                self._progress(f"memory: {case}")
                (found[str(case)],) = ask("memory", [case], round=0, calls=_MEMORY_CALLS)
        return found

    def _models(self, cases: Sequence[Case]) -> dict[str, dict[str, Any]]:
        delegated = [c for c in cases if c.runtime == LITERT and c.settings.delegate == "xnnpack"]
        self._progress("operators")
        answers = ask("models", delegated, profile=self._options.profile)
        return {str(c): answer for c, answer in zip(delegated, answers, strict=True)}


def _row(
    case: Case,
    answers: Sequence[dict[str, Any]],
    error: str | None,
    memory: dict[str, Any] | None,
    model: dict[str, Any],
) -> report.Row:
    """Makes a row of what the processes answered."""
    comparisons: dict[str, report.Parity] = {}
    for number, answer in enumerate(answers):
        if "error" in answer:
            error = error or f"round {number + 1}: {answer['error']}"
        for values in answer.get("parity", []):
            one = report.Parity(**values)
            # The worst round counts.
            if one.against not in comparisons or one.mean > comparisons[one.against].mean:
                comparisons[one.against] = one
    wrong = [one for one in comparisons.values() if not one.passed]
    if wrong:
        error = error or (
            f"wrong result: {wrong[0].mean:g} {wrong[0].unit} from {wrong[0].against} on average,"
            f" at most {wrong[0].limit:g} is right"
        )
    rounds = () if error else tuple(_round_of(answer) for answer in answers)
    return report.Row(
        device="here",
        subject=case.subject,
        stage=case.stage,
        runtime=case.runtime,
        settings=case.settings,
        rounds=rounds,
        parity=tuple(comparisons.values()),
        memory=report.Memory(**memory) if memory and "error" not in memory else None,
        coverage=report.Coverage(**model["coverage"]) if "coverage" in model else None,
        profile=tuple(report.OperatorTime(**one) for one in model.get("profile", [])),
        error=error,
    )


def _round_of(answer: dict[str, Any]) -> report.Round:
    return report.Round(
        samples_ms=tuple(answer["samples_ms"]),
        control_ms=tuple(answer["control_ms"]),
        creation_ms=answer["creation_ms"],
        first_call_ms=answer["first_call_ms"],
    )
