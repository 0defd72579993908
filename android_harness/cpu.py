"""Which of a phone's cores are the fast ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Reads a list of the kernel, such as '0-3,6'.

    Args:
      text: as in /sys/devices/system/cpu/present.

    Returns:
      The numbers.

    Raises:
      ValueError: it is none.
    """
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        numbers += range(int(first), int(last if dash else first) + 1)
    return tuple(numbers)


def big_cores(frequencies: Mapping[int, int]) -> tuple[int, ...]:
    """Finds the big cores: all but those of the slowest cluster.

    Of a chip with little, middle and prime cores these are the middle and the prime ones, the mask
    f0 of TensorFlow's own advice for Pixel phones.

    Args:
      frequencies: cpuinfo_max_freq by core, in kHz.

    Returns:
      The cores, in order; empty where all are alike.
    """
    slowest = min(frequencies.values(), default=0)
    return tuple(sorted(core for core, value in frequencies.items() if value > slowest))


def cpu_mask(cores: Sequence[int]) -> str:
    """Returns the affinity mask of cores as `taskset` takes it: hexadecimal without 0x."""
    return f"{sum(1 << core for core in cores):x}"


def cpu_list(cores: Sequence[int]) -> str:
    """Writes sorted numbers of cores as people do: '4-7', '0,2-3'."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
