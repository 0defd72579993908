"""Properties and conditions of a phone, and whether it can be measured."""

from __future__ import annotations

import re
from dataclasses import dataclass

from android_harness.adb import Device
from android_harness.cpu import parse_cpu_list
from android_harness.errors import DeviceRefusedError
from benchmarks.report import Conditions

# Android 7.0, the first version whose adbd reports exit statuses, and the oldest that MediaPipe
# Tasks support.
MINIMUM_SDK = 24
REMOTE_PARENT = "/data/local/tmp"

_PROPERTY = re.compile(r"^\[(?P<name>[^\]]*)\]: \[(?P<value>.*)\]$", re.MULTILINE)
_THERMAL_STATUS = re.compile(r"^\s*Thermal Status:\s*(\d+)", re.MULTILINE)
_WAKEFULNESS = re.compile(r"^\s*mWakefulness=(\w+)", re.MULTILINE)
_DISPLAY = re.compile(r"^\s*Display Power: state=(\w+)", re.MULTILINE)
_BATTERY_FULL, _BATTERY_CHARGING = 5, 2  # BatteryManager.BATTERY_STATUS_*.


@dataclass(frozen=True)
class Phone:
    """Properties of a phone, which do not change while it is measured.

    Attributes:
      serial: Serial number as adb lists it.
      name: Manufacturer and model.
      release: Android version, such as '14'.
      sdk: Android API level.
      abis: Supported ABIs (instruction sets), the preferred one first.
      processor: Name of the SoC, or of the board or hardware if that is unknown.
      frequencies: Maximum frequency of each core in kHz; only cores that report it.
      cores: Number of cores.
      governor: Frequency governor of the first core; None if it is not reported.
      memory_bytes: RAM; None if it is not reported.
      free_bytes: Free space in `REMOTE_PARENT`; None if it is not reported.
    """

    serial: str
    name: str
    release: str
    sdk: int
    abis: tuple[str, ...]
    processor: str
    frequencies: dict[int, int]
    cores: int
    governor: str | None
    memory_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True)
class Needs:
    """Requirements of a run.

    Attributes:
      abis: ABIs for which a benchmark_model is available; None if the run does not need one.
      free_bytes: Space for all files that are pushed.
      battery_percent: Minimum charge of a battery that is not charging.
    """

    abis: frozenset[str] | None
    free_bytes: int
    battery_percent: int


def read_phone(device: Device) -> Phone:
    """Reads the properties of a phone.

    Args:
      device: The phone.

    Returns:
      Its properties.

    Raises:
      DeviceRefusedError: its Android version is too old, or it is not an Android phone.
      DeviceLostError, AdbError, InterruptedRunError: as for `Device`.
    """
    serial = device.serial
    if "shell_v2" not in device.features():
        raise DeviceRefusedError(
            f"{serial}: its adbd does not report exit statuses; Android 7.0 and later do"
        )
    properties = {m["name"]: m["value"] for m in _PROPERTY.finditer(_text(device, "getprop"))}

    def first(*names: str) -> str:
        return next((properties[n] for n in names if properties.get(n)), "")

    sdk = first("ro.build.version.sdk")
    abis = first("ro.product.cpu.abilist", "ro.product.cpu.abi")
    if not sdk.isdigit() or not abis:
        raise DeviceRefusedError(f"{serial} does not answer 'getprop' as an Android phone does")
    maker, model = first("ro.product.manufacturer"), first("ro.product.model")
    cores = _cores(device)
    frequencies = {}
    for core in cores:
        value = _text(device, "cat", _cpufreq(core, "cpuinfo_max_freq")).strip()
        if value.isdigit():
            frequencies[core] = int(value)
    governor = _text(device, "cat", _cpufreq(0, "scaling_governor")).strip()
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text(device, "cat", "/proc/meminfo"), re.M)
    return Phone(
        serial=serial,
        # Some manufacturers start the name of the model with their own.
        name=(model if model.lower().startswith(maker.lower()) else f"{maker} {model}") or serial,
        release=first("ro.build.version.release") or "unknown",
        sdk=int(sdk),
        abis=tuple(abis.split(",")),
        processor=first("ro.soc.model", "ro.board.platform", "ro.hardware") or "unknown",
        frequencies=frequencies,
        cores=max(len(cores), 1),
        governor=governor or None,
        memory_bytes=1024 * int(memory[1]) if memory else None,
        free_bytes=_free_bytes(_text(device, "df", "-k", REMOTE_PARENT)),
    )


def read_conditions(device: Device) -> Conditions:
    """Reads the state of a phone.

    Args:
      device: The phone.

    Returns:
      Its state, with None for what the phone does not report; `celsius` is the battery's
      temperature.

    Raises:
      DeviceLostError, AdbError, InterruptedRunError: as for `Device`.
    """
    battery = _battery(_text(device, "dumpsys", "battery"))
    thermal = _THERMAL_STATUS.search(_text(device, "dumpsys", "thermalservice"))
    power = _text(device, "dumpsys", "power")
    load = _text(device, "cat", "/proc/loadavg").split()
    temperature, level = battery.get("temperature"), battery.get("level")
    scale = battery.get("scale") or 100
    status = battery.get("status")
    return Conditions(
        load=float(load[0]) if load and re.fullmatch(r"\d+\.\d+", load[0]) else None,
        celsius=None if temperature is None else temperature / 10,
        thermal_status=min(int(thermal[1]), 6) if thermal else None,
        battery_percent=None if level is None else max(0, min(100, round(100 * level / scale))),
        charging=None if status is None else status in (_BATTERY_CHARGING, _BATTERY_FULL),
        screen_on=_screen_on(power),
    )


def read_identity(device: Device) -> str:
    """Reads what tells phones apart, however adb reaches them.

    The phone's own serial number is not enough, because some manufacturers give all phones the
    same one. The identifier of its last start is another one on each phone.

    Args:
      device: The phone.

    Returns:
      The identity, which changes when the phone restarts; empty if the phone has no serial number.

    Raises:
      DeviceLostError, AdbError, InterruptedRunError: as for `Device`.
    """
    serial = _text(device, "getprop", "ro.serialno").strip()
    return f"{serial} {read_boot_id(device)}" if serial else ""


def read_boot_id(device: Device) -> str:
    """Returns an identifier that changes when the phone restarts; empty if it has none."""
    return _text(device, "cat", "/proc/sys/kernel/random/boot_id").strip()


def check_phone(phone: Phone, conditions: Conditions, needs: Needs) -> tuple[str, ...]:
    """Checks that a phone can be measured.

    Args:
      phone: The phone's properties.
      conditions: Its state.
      needs: Requirements of the run.

    Returns:
      Remarks on what may slow the phone down or hide that it slows down.

    Raises:
      DeviceRefusedError: the phone cannot be measured; the message lists all reasons.
    """
    problems = []
    if phone.sdk < MINIMUM_SDK:
        problems.append(
            f"Android {phone.release} (API {phone.sdk}) is too old; 7.0 (API {MINIMUM_SDK}) or"
            " later is needed"
        )
    if needs.abis is not None and not needs.abis & set(phone.abis):
        problems.append(
            f"benchmark_model is available for {', '.join(sorted(needs.abis))}, but the phone runs"
            f" {', '.join(phone.abis)}; give one for the phone with --benchmark-model"
        )
    if phone.free_bytes is not None and phone.free_bytes < needs.free_bytes:
        problems.append(
            f"{phone.free_bytes / 1e6:.0f} MB are free in {REMOTE_PARENT}, but"
            f" {needs.free_bytes / 1e6:.0f} MB are needed: delete files on the phone"
        )
    level = conditions.battery_percent
    if level is not None and level < needs.battery_percent and not conditions.charging:
        problems.append(
            f"the battery has {level} %, and phones slow down when it gets empty: charge it to"
            f" {needs.battery_percent} % (--min-battery)"
        )
    if problems:
        raise DeviceRefusedError(f"{phone.serial} ({phone.name}): {'; '.join(problems)}")
    remarks = []
    if conditions.screen_on is False:
        remarks.append(
            "the screen is off, and some phones then slow their cores down: switch it on"
        )
    if conditions.charging:
        remarks.append("the battery is charging, which warms the phone")
    if conditions.thermal_status is None:
        remarks.append(
            "the phone reports no thermal status (Android 10 and later do), so throttling goes"
            " unnoticed"
        )
    return tuple(remarks)


def _text(device: Device, *command: str) -> str:
    """Returns the output of a command that changes nothing; empty if the command fails."""
    answer = device.shell(command)
    return answer.stdout if answer.status == 0 else ""


def _cpufreq(core: int, file: str) -> str:
    return f"/sys/devices/system/cpu/cpu{core}/cpufreq/{file}"


def _cores(device: Device) -> tuple[int, ...]:
    try:
        return parse_cpu_list(_text(device, "cat", "/sys/devices/system/cpu/present"))
    except ValueError:
        return ()


def _free_bytes(df: str) -> int | None:
    """Reads the output of toybox's df: the column Available, in KiB, of the last line."""
    lines = [line.split() for line in df.splitlines() if line.strip()]
    if len(lines) < 2 or "Available" not in lines[0]:
        return None
    # The heading 'Mounted on' is the last one, so that its two words do not shift the column.
    column = lines[0].index("Available")
    values = lines[-1]
    if column >= len(values) or not values[column].isdigit():
        return None
    return 1024 * int(values[column])


def _battery(dump: str) -> dict[str, int]:
    """Reads the lines 'name: number' of `dumpsys battery`; the temperature is in 0.1 °C."""
    pairs = re.findall(r"^\s*(\w+): (-?\d+)\s*$", dump, re.MULTILINE)
    # Manufacturers append sections that repeat the names; Android's own section is the first.
    return {name: int(value) for name, value in reversed(pairs)}


def _screen_on(dump: str) -> bool | None:
    display = _DISPLAY.search(dump)
    if display is not None:
        return display[1] == "ON"
    wakefulness = _WAKEFULNESS.search(dump)
    return None if wakefulness is None else wakefulness[1] == "Awake"
