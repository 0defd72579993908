"""Output of dumpsys in the formats of AOSP's ThermalManagerService, BatteryService and so on."""

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .device import AdbDevice
    from .thermal import Reading
    from .tool_server import ToolCall

# Constants of android.os.Temperature and android.os.BatteryManager.
_CPU, _BATTERY, _SKIN = 0, 2, 3
_CHARGING, _DISCHARGING, _FULL = 2, 3, 5
_GOOD: Final = 2


def dump(device: "AdbDevice", service: str, arguments: list[str]) -> str | None:
    """Returns the output of a service, or None if there is no such service."""
    dumps = {
        "thermalservice": _thermal,
        "battery": _battery,
        "power": _power,
        "display": _display,
        "deviceidle": _device_idle,
    }
    if service == "window":
        return _window(device)
    if service == "package":
        known = arguments and arguments[0] in device.packages.installed
        return f"Packages:\n  Package [{arguments[0]}] (5a1c0de):\n" if known else ""
    return dumps[service](device) if service in dumps else None


def _thermal(device: "AdbDevice") -> str:
    reading = device.thermal.read()
    cooling = max(0, reading.status - 1)
    overridden = str(device.thermal.override is not None).lower()
    return (
        f"IsStatusOverride: {overridden}\n"
        "ThermalEventListeners:\n\tcallbacks: 2\n\tkilled: false\n\tbroadcasts count: -1\n"
        "ThermalStatusListeners:\n\tcallbacks: 4\n\tkilled: false\n\tbroadcasts count: -1\n"
        f"Thermal Status: {reading.status}\n"
        f"Cached temperatures:\n{_temperatures(device.thermal.cached)}"
        "HAL Ready: true\n"
        "HAL connection:\n\tThermalHAL AIDL 1  connected: yes\n"
        f"Current temperatures from HAL:\n{_temperatures(reading)}"
        "Current cooling devices from HAL:\n"
        f"\tCoolingDevice{{mValue={cooling}, mType=2, mName=thermal-cpufreq-0}}\n"
        f"\tCoolingDevice{{mValue={cooling}, mType=3, mName=thermal-gpufreq-0}}\n"
        "Temperature static thresholds from HAL:\n"
        "\tTemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, "
        "43.0, 45.0, 46.5, 52.0, 55.0], mColdThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, "
        "NaN]}\n"
    )


def _temperatures(reading: "Reading") -> str:
    return "".join(
        f"\tTemperature{{mValue={value:.3f}, mType={kind}, mName={name}, mStatus={status}}}\n"
        for value, kind, name, status in (
            (reading.battery, _BATTERY, "battery", 0),
            (reading.cpu, _CPU, "BIG", 0),
            (reading.skin, _SKIN, "VIRTUAL-SKIN", reading.status),
        )
    )


def override_thermal(device: "AdbDevice", call: "ToolCall", arguments: list[str]) -> int:
    """Runs `cmd thermalservice`."""
    if arguments[:1] == ["override-status"]:
        device.thermal.override = int(arguments[1])
    elif arguments[:1] == ["reset"]:
        device.thermal.override = None
    else:
        return call.complain(f"Unknown command: {' '.join(arguments)}\n")
    return 0


def _battery(device: "AdbDevice") -> str:
    battery = device.battery
    status = _DISCHARGING
    if battery.usb_powered:
        status = _FULL if battery.level == 100 else _CHARGING
    temperature = round(10 * device.thermal.read().battery)
    return (
        "Current Battery Service state:\n"
        "  AC powered: false\n"
        f"  USB powered: {str(battery.usb_powered).lower()}\n"
        "  Wireless powered: false\n"
        "  Dock powered: false\n"
        f"  Max charging current: {500000 if battery.usb_powered else 0}\n"
        f"  Max charging voltage: {5000000 if battery.usb_powered else 0}\n"
        f"  Charge counter: {46000 * battery.level}\n"
        f"  status: {status}\n"
        f"  health: {_GOOD}\n"
        "  present: true\n"
        f"  level: {battery.level}\n"
        "  scale: 100\n"
        f"  voltage: {3500 + 9 * battery.level}\n"
        f"  temperature: {temperature}\n"
        "  technology: Li-ion\n"
    )


def set_battery(device: "AdbDevice", call: "ToolCall", arguments: list[str]) -> int:
    """Runs `dumpsys battery set ...`, `unplug` and `reset`."""
    if arguments[:1] == ["unplug"]:
        device.battery = dataclasses.replace(device.battery, usb_powered=False)
    elif arguments[:1] == ["reset"]:
        device.battery = dataclasses.replace(device.battery, usb_powered=True)
    elif arguments[:2] == ["set", "level"]:
        device.battery = dataclasses.replace(device.battery, level=int(arguments[2]))
    elif arguments[:2] == ["set", "usb"]:
        device.battery = dataclasses.replace(device.battery, usb_powered=arguments[2] != "0")
    else:
        return call.complain(f"Unknown command: {' '.join(arguments)}\n")
    return 0


def _power(device: "AdbDevice") -> str:
    awake = device.screen_on
    powered = str(device.battery.usb_powered).lower()
    stay_on = device.battery.usb_powered and bool(
        int(device.settings.get("global/stay_on_while_plugged_in", "0")) & 2
    )
    return (
        "POWER MANAGER (dumpsys power)\n\n"
        "Power Manager State:\n"
        "  mDirty=0x0\n"
        f"  mWakefulness={'Awake' if awake else 'Asleep'}\n"
        "  mWakefulnessChanging=false\n"
        f"  mIsPowered={powered}\n"
        f"  mPlugType={2 if device.battery.usb_powered else 0}\n"
        f"  mBatteryLevel={device.battery.level}\n"
        "  mDockState=0\n"
        f"  mStayOn={str(stay_on).lower()}\n"
        "  mProximityPositive=false\n"
        "  mBootCompleted=true\n"
        "  mSystemReady=true\n"
        f"  mHoldingDisplaySuspendBlocker={str(awake).lower()}\n"
        "\nSettings and Configuration:\n"
        f"  mStayOnWhilePluggedInSetting="
        f"{device.settings.get('global/stay_on_while_plugged_in', '0')}\n"
        f"\nDisplay Power: state={'ON' if awake else 'OFF'}\n"
    )


def _display(device: "AdbDevice") -> str:
    state = "ON" if device.screen_on else "OFF"
    return (
        f"DISPLAY MANAGER (dumpsys display)\n  mGlobalDisplayState={state}\n"
        f"\nDisplay Power Controller:\n  mScreenState={state}\n"
    )


def _window(device: "AdbDevice") -> str:
    on = str(device.screen_on).lower()
    return (
        "WINDOW MANAGER POLICY STATE (dumpsys window policy)\n"
        f"    mScreenOnEarly={on} mScreenOnFully={on}\n"
        f"    mAwake={on}\n"
        "    KeyguardServiceDelegate\n"
        f"      showing={str(not device.screen_on).lower()}\n"
        f"      screenState=SCREEN_STATE_{'ON' if device.screen_on else 'OFF'}\n"
        f"      interactiveState=INTERACTIVE_STATE_{'AWAKE' if device.screen_on else 'SLEEP'}\n"
    )


def _device_idle(device: "AdbDevice") -> str:
    return f"  mScreenOn={str(device.screen_on).lower()}\n"
