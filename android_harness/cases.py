"""The ways in which a model is run on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from android_harness.cpu import big_cores, cpu_list, cpu_mask
from android_harness.phone import Phone
from android_harness.protocol import CASE_NAMES
from benchmarks.report import Settings

# The Neural Networks API came with Android 8.1 and is deprecated since 15, but still there.
_NNAPI_SDK = 27
_MANY_THREADS = 4


@dataclass(frozen=True)
class Case:
    """One way.

    Attributes:
      name: one of `CASE_NAMES`.
      settings: what a report says of it.
      flags: of benchmark_model.
      mask: cores to bind it to, as `taskset` takes them; None for all.
    """

    name: str
    settings: Settings
    flags: tuple[str, ...]
    mask: str | None = None


def cases_of(phone: Phone, names: Sequence[str] = CASE_NAMES) -> tuple[Case, ...]:
    """Lists the cases that a phone has.

    Args:
      phone: the phone.
      names: which of them are wanted.

    Returns:
      The cases, in the order of `CASE_NAMES`. There are no big cores where all are alike, and no
      NNAPI before Android 8.1.
    """
    cases = [_cpu(f"cpu-{threads}", threads) for threads in (1, _MANY_THREADS)]
    big = big_cores(phone.frequencies)
    if big:
        cases += [
            _cpu(f"big-{threads}", min(threads, len(big)), big) for threads in (1, _MANY_THREADS)
        ]
    cases += [
        Case(
            f"builtin-{threads}",
            Settings(threads=threads, delegate="none"),
            (f"--num_threads={threads}", "--use_xnnpack=false"),
        )
        for threads in (1, _MANY_THREADS)
    ]
    cases += [
        Case(
            "gpu",
            Settings(delegate="gpu", gpu_precision="float16"),
            ("--use_gpu=true", "--gpu_precision_loss_allowed=true"),
        ),
        Case(
            "gpu-float32",
            Settings(delegate="gpu", gpu_precision="float32"),
            ("--use_gpu=true", "--gpu_precision_loss_allowed=false"),
        ),
    ]
    if phone.sdk >= _NNAPI_SDK:
        cases.append(Case("nnapi", Settings(delegate="nnapi"), ("--use_nnapi=true",)))
    # With only two big cores, big-1 and big-4 still differ; with one they are the same.
    distinct = {case.settings: case for case in reversed(cases)}
    return tuple(c for c in cases if c.name in names and distinct[c.settings] is c)


def _cpu(name: str, threads: int, cores: Sequence[int] = ()) -> Case:
    return Case(
        name,
        Settings(threads=threads, cores=cpu_list(cores) if cores else None, delegate="xnnpack"),
        (f"--num_threads={threads}", "--use_xnnpack=true"),
        cpu_mask(cores) if cores else None,
    )
