"""What a phone is, the state it is in, and whether it can be measured."""

from __future__ import annotations

import re
from dataclasses import dataclass

from android_harness.adb import Adb, Answer
from android_harness.cpu import parse_cpu_list
from android_harness.errors import DeviceRefusedError
from benchmarks.report import Conditions

# Android 7.0, the first whose adbd reports exit statuses; MediaPipe Tasks want it, too.
MINIMUM_SDK = 24
REMOTE_PARENT = "/data/local/tmp"

_PROPERTY = re.compile(r"^\[(?P<name>[^\]]*)\]: \[(?P<value>.*)\]$", re.MULTILINE)
_THERMAL_STATUS = re.compile(r"^\s*Thermal Status:\s*(\d+)", re.MULTILINE)
_WAKEFULNESS = re.compile(r"^\s*mWakefulness=(\w+)", re.MULTILINE)
_DISPLAY = re.compile(r"^\s*Display Power: state=(\w+)", re.MULTILINE)
_BATTERY_FULL, _BATTERY_CHARGING = 5, 2  # BatteryManager.BATTERY_STATUS_*.


@dataclass(frozen=True)
class Phone:
    """What does not change while a phone is measured.

    Attributes:
      serial: what adb calls it.
      name: maker and model.
      release: Android's version, such as '14'.
      sdk: its API level.
      abis: instruction sets, the best first.
      processor: SoC, or what comes nearest to its name.
      frequencies: greatest frequency by core, in kHz; only cores that tell it.
      cores: how many there are.
      governor: frequency governor of the first core, if it tells.
      memory_bytes: RAM, if the phone tells.
      free_bytes: free space where the models go, if the phone tells.
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
    """What a run wants of a phone.

    Attributes:
      abis: instruction sets for which there is a benchmark_model; None if none is needed.
      free_bytes: space for everything that is pushed.
      battery_percent: least charge of a battery that is not being charged.
    """

    abis: frozenset[str] | None
    free_bytes: int
    battery_percent: int


def read_phone(adb: Adb, serial: str) -> Phone:
    """Asks a phone what it is.

    Args:
      adb: the client.
      serial: the phone.

    Returns:
      The phone.

    Raises:
      DeviceRefusedError: its Android is too old to be driven, or it does not answer as an Android.
      DeviceLostError, AdbError, InterruptedRunError: as for `Adb.shell`.
    """
    if "shell_v2" not in adb.features(serial):
        raise DeviceRefusedError(
            f"{serial}: its adbd does not report exit statuses; Android 7.0 and later do"
        )
    properties = {m["name"]: m["value"] for m in _PROPERTY.finditer(_text(adb, serial, "getprop"))}

    def first(*names: str) -> str:
        return next((properties[n] for n in names if properties.get(n)), "")

    sdk = first("ro.build.version.sdk")
    abis = first("ro.product.cpu.abilist", "ro.product.cpu.abi")
    if not sdk.isdigit() or not abis:
        raise DeviceRefusedError(f"{serial} does not answer 'getprop' as an Android phone does")
    maker, model = first("ro.product.manufacturer"), first("ro.product.model")
    cores = _cores(adb, serial)
    frequencies = {}
    for core in cores:
        value = _text(adb, serial, "cat", _cpufreq(core, "cpuinfo_max_freq")).strip()
        if value.isdigit():
            frequencies[core] = int(value)
    governor = _text(adb, serial, "cat", _cpufreq(0, "scaling_governor")).strip()
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text(adb, serial, "cat", "/proc/meminfo"), re.M)
    return Phone(
        serial=serial,
        # Some makers begin the model's name with their own.
        name=(model if model.lower().startswith(maker.lower()) else f"{maker} {model}") or serial,
        release=first("ro.build.version.release") or "unknown",
        sdk=int(sdk),
        abis=tuple(abis.split(",")),
        processor=first("ro.soc.model", "ro.board.platform", "ro.hardware") or "unknown",
        frequencies=frequencies,
        cores=max(len(cores), 1),
        governor=governor or None,
        memory_bytes=1024 * int(memory[1]) if memory else None,
        free_bytes=_free_bytes(_text(adb, serial, "df", "-k", REMOTE_PARENT)),
    )


def read_conditions(adb: Adb, serial: str) -> Conditions:
    """Asks a phone for its state; what it does not tell is None.

    Args:
      adb: the client.
      serial: the phone.

    Returns:
      Its state; `celsius` is the battery's.

    Raises:
      DeviceLostError, AdbError, InterruptedRunError: as for `Adb.shell`.
    """
    battery = _battery(_text(adb, serial, "dumpsys", "battery"))
    thermal = _THERMAL_STATUS.search(_text(adb, serial, "dumpsys", "thermalservice"))
    power = _text(adb, serial, "dumpsys", "power")
    load = _text(adb, serial, "cat", "/proc/loadavg").split()
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


def read_boot_id(adb: Adb, serial: str) -> str:
    """Returns a name that changes when the phone is restarted, empty if it does not tell."""
    return _text(adb, serial, "cat", "/proc/sys/kernel/random/boot_id").strip()


def check_phone(phone: Phone, conditions: Conditions, needs: Needs) -> tuple[str, ...]:
    """Checks that a phone can be measured.

    Args:
      phone: the phone.
      conditions: its state.
      needs: what the run wants of it.

    Returns:
      What may make its times worse than they could be, a sentence each.

    Raises:
      DeviceRefusedError: it cannot; the message gives all reasons.
    """
    problems = []
    if phone.sdk < MINIMUM_SDK:
        problems.append(
            f"Android {phone.release} (API {phone.sdk}) is too old, 7.0 (API {MINIMUM_SDK}) is the"
            " least"
        )
    if needs.abis is not None and not needs.abis & set(phone.abis):
        problems.append(
            f"benchmark_model is there for {', '.join(sorted(needs.abis))}, and the phone takes"
            f" {', '.join(phone.abis)}; give one of its own with --benchmark-model"
        )
    if phone.free_bytes is not None and phone.free_bytes < needs.free_bytes:
        problems.append(
            f"{phone.free_bytes / 1e6:.0f} MB are free in {REMOTE_PARENT}, and"
            f" {needs.free_bytes / 1e6:.0f} MB are needed: delete something on the phone"
        )
    level = conditions.battery_percent
    if level is not None and level < needs.battery_percent and not conditions.charging:
        problems.append(
            f"the battery has {level} %, and phones slow down when it gets empty: charge it above"
            f" {needs.battery_percent} % (--min-battery)"
        )
    if problems:
        raise DeviceRefusedError(f"{phone.serial} ({phone.name}): {'; '.join(problems)}")
    remarks = []
    if conditions.screen_on is False:
        remarks.append("the screen is off, when some phones keep their cores slow: wake it up")
    if conditions.charging:
        remarks.append("it is being charged, which warms it")
    if conditions.thermal_status is None:
        remarks.append("it tells no thermal status (Android 10 and later do): throttling is unseen")
    return tuple(remarks)


def _text(adb: Adb, serial: str, *command: str) -> str:
    """Output of a command that only reads, empty if it fails."""
    answer: Answer = adb.shell(serial, command)
    return answer.stdout if answer.status == 0 else ""


def _cpufreq(core: int, file: str) -> str:
    return f"/sys/devices/system/cpu/cpu{core}/cpufreq/{file}"


def _cores(adb: Adb, serial: str) -> tuple[int, ...]:
    try:
        return parse_cpu_list(_text(adb, serial, "cat", "/sys/devices/system/cpu/present"))
    except ValueError:
        return ()


def _free_bytes(df: str) -> int | None:
    """Reads toybox's df: the column called Available, in KiB, of the last line."""
    lines = [line.split() for line in df.splitlines() if line.strip()]
    if len(lines) < 2 or "Available" not in lines[0]:
        return None
    # 'Mounted on' is two words of the heading and one column.
    column = lines[0].index("Available")
    values = lines[-1]
    if column >= len(values) or not values[column].isdigit():
        return None
    return 1024 * int(values[column])


def _battery(dump: str) -> dict[str, int]:
    """Reads the lines 'name: number' of `dumpsys battery`; temperature is in tenths of °C."""
    pairs = re.findall(r"^\s*(\w+): (-?\d+)\s*$", dump, re.MULTILINE)
    # Makers append sections that use the same names again: Android's own comes first.
    return {name: int(value) for name, value in reversed(pairs)}


def _screen_on(dump: str) -> bool | None:
    display = _DISPLAY.search(dump)
    if display is not None:
        return display[1] == "ON"
    wakefulness = _WAKEFULNESS.search(dump)
    return None if wakefulness is None else wakefulness[1] == "Awake"
