"""Made-up benchmark results."""

from collections.abc import Sequence

import numpy as np

from benchmarks.report import Device, Model, Report, Round, Row, Settings, Subject

DEVICE = Device(
    name="a host",
    kind="host",
    processor="a processor",
    architecture="x86_64",
    cores=2,
    system="Linux 6",
    cpu_flags=("avx2",),
    versions={"python": "3.12"},
)


def subject(name: str = "style", size_bytes: int = 8_700_000, side: int = 256) -> Subject:
    """Returns the description of a bundle of which only the stylizer is listed."""
    shape = (1, side, side, 3)
    model = Model("stylizer", "0" * 64, 7_000_000, shape, shape, "float16", 10, 20, {"ADD": 2})
    return Subject(name, f"{name}.task", "1" * 64, size_bytes, (model,))


def drifting_rounds(
    random: np.random.Generator,
    p50: float = 40.0,
    count: int = 10,
    calls: int = 10,
    machine: Sequence[float] | None = None,
) -> tuple[Round, ...]:
    """Returns rounds as of a shared machine: speed differs by round, and calls are correlated.

    Args:
      random: Source of the noise.
      p50: Time of a call without noise in milliseconds.
      count: Number of rounds.
      calls: Number of calls in each round.
      machine: Factor for all times of each round, including the drift control's; noise of 3 % if
        None.
    """
    if machine is None:
        machine = np.exp(random.normal(0.0, 0.03, count))
    rounds = []
    for factor in machine:
        process = np.exp(random.normal(0.0, 0.01))
        noise = np.zeros(calls)
        for call in range(1, calls):
            noise[call] = 0.8 * noise[call - 1] + random.normal(0.0, 0.01)
        # Some calls are interrupted by other programs.
        noise += np.where(random.random(calls) < 0.1, random.exponential(0.3, calls), 0.0)
        control = 5.0 * factor * np.exp(random.normal(0.0, 0.005, 6))
        samples = p50 * factor * process * np.exp(noise)
        rounds.append(
            Round(
                samples_ms=tuple(float(v) for v in samples),
                control_ms=tuple(float(v) for v in control),
                creation_ms=50.0,
                first_call_ms=80.0,
            )
        )
    return tuple(rounds)


def row(rounds: Sequence[Round], stage: str = "end_to_end", name: str = "style", **settings) -> Row:
    """Returns a row of the portable runtime."""
    return Row(
        device=DEVICE.name,
        subject=name,
        stage=stage,
        runtime="portable",
        settings=Settings(**settings),
        rounds=tuple(rounds),
    )


def report(*rows: Row, subjects: Sequence[Subject] = ()) -> Report:
    """Returns a report of rows; its only subject is `subject()` unless others are given."""
    return Report(
        began="2026-11-21T12:00:00Z",
        seconds=60.0,
        options={"rounds": 10},
        devices=(DEVICE,),
        subjects=tuple(subjects) or (subject(),),
        rows=rows,
        control="a model",
    )
