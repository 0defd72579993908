"""Lists and masks of CPU cores, and which cores of a phone are the big ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Parses a CPU list of the Linux kernel, such as '0-3,6'.

    Args:
      text: Content of a file such as /sys/devices/system/cpu/present.

    Returns:
      Numbers of the cores.

    Raises:
      ValueError: the text is not a CPU list.
    """
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        numbers += range(int(first), int(last if dash else first) + 1)
    return tuple(numbers)


def big_cores(frequencies: Mapping[int, int]) -> tuple[int, ...]:
    """Finds the big cores, which are all but those of the slowest cluster.

    On a chip with little, middle and prime cores these are the middle and the prime ones, as in
    the mask f0 that TensorFlow's guide uses for Pixel phones.

    Args:
      frequencies: cpuinfo_max_freq of each core in kHz.

    Returns:
      Numbers of the big cores in ascending order; empty if all cores are equal.
    """
    slowest = min(frequencies.values(), default=0)
    return tuple(sorted(core for core, value in frequencies.items() if value > slowest))


def cpu_mask(cores: Sequence[int]) -> str:
    """Returns the affinity mask of cores for `taskset`, in hexadecimal without 0x."""
    return f"{sum(1 << core for core in cores):x}"


def cpu_list(cores: Sequence[int]) -> str:
    """Returns the CPU list of sorted numbers of cores, such as '4-7' or '0,2-3'."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
