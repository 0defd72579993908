"""Describes this computer for a report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from benchmarks.report import Conditions, Device

_PACKAGES = ("mm-face-stylizer", "ai-edge-litert", "mediapipe", "numpy", "opencv-contrib-python")
_CPU_INFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_THERMAL = Path("/sys/class/thermal")


def describe_host(
    name: str | None = None, before: Conditions | None = None, after: Conditions | None = None
) -> Device:
    """Describes this computer.

    Args:
      name: Name for tables; the processor and its number of cores if None.
      before: State of the computer before the first row.
      after: State of the computer after the last row.

    Returns:
      The description, without what the system does not report.
    """
    info = _cpu_info()
    processor = info.get("model name") or platform.processor() or platform.machine() or "unknown"
    cores = len(allowed_cores())
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Device(
        name=name or f"{processor}, {cores} cores",
        kind="host",
        processor=processor,
        architecture=platform.machine() or "unknown",
        cores=cores,
        system=f"{platform.system()} {platform.release()}",
        cpu_flags=tuple(sorted((info.get("flags") or info.get("Features") or "").split())),
        governor=_read(_GOVERNOR),
        memory_bytes=_memory(),
        versions=versions,
        before=before,
        after=after,
    )


def conditions() -> Conditions:
    """Returns the present state of this computer."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return Conditions(load=load, celsius=_temperature())


def allowed_cores() -> list[int]:
    """Returns the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cpu_info() -> dict[str, str]:
    """Returns the entries of the first core in /proc/cpuinfo; empty on other systems than Linux."""
    lines = (_read(_CPU_INFO) or "").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows.
        return None


def _temperature() -> float | None:
    """Returns the temperature of the hottest zone in °C; virtual machines have no zones."""
    values = [_read(path) or "" for path in sorted(_THERMAL.glob("thermal_zone*/temp"))]
    return max((int(v) / 1000 for v in values if v.lstrip("-").isdigit()), default=None)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
