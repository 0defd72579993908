"""Cases: the ways in which a model is run on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from android_harness.cpu import big_cores, cpu_list, cpu_mask
from android_harness.phone import Phone
from android_harness.protocol import CASE_NAMES
from benchmarks.report import Settings

# Android has had the Neural Networks API since 8.1. It is deprecated since 15, but still works.
_NNAPI_SDK = 27
_MANY_THREADS = 4


@dataclass(frozen=True)
class Case:
    """A way to run a model.

    Attributes:
      name: Name of the case; one of `CASE_NAMES` for those of benchmark_model.
      settings: Settings for the report.
      flags: Flags of benchmark_model.
      mask: Mask of the cores to use, as `taskset` takes it; None for all.
    """

    name: str
    settings: Settings
    flags: tuple[str, ...]
    mask: str | None = None


def cases_of(phone: Phone, names: Sequence[str] = CASE_NAMES) -> tuple[Case, ...]:
    """Lists the cases that a phone supports.

    Args:
      phone: The phone's properties.
      names: Names of the cases that are wanted.

    Returns:
      The cases, in the order of `CASE_NAMES`: without those of big cores if all cores are equal,
      and without NNAPI before Android 8.1.
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
    # On a phone with one big core, big-1 and big-4 have equal settings; only the first stays.
    distinct = {case.settings: case for case in reversed(cases)}
    return tuple(c for c in cases if c.name in names and distinct[c.settings] is c)


def _cpu(name: str, threads: int, cores: Sequence[int] = ()) -> Case:
    return Case(
        name,
        Settings(threads=threads, cores=cpu_list(cores) if cores else None, delegate="xnnpack"),
        (f"--num_threads={threads}", "--use_xnnpack=true"),
        cpu_mask(cores) if cores else None,
    )
