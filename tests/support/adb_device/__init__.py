"""A simulated phone that speaks adb's own protocol; README.md describes how to use it."""

from .adb_environment import MISSING, AdbEnvironment, find_adb
from .binaries import write_benchmark_model
from .device import FEATURES, AdbDevice, Battery
from .packages import Instrumentation, make_apk
from .phone import Phone

__all__ = [
    "FEATURES",
    "MISSING",
    "AdbDevice",
    "AdbEnvironment",
    "Battery",
    "Instrumentation",
    "Phone",
    "find_adb",
    "make_apk",
    "write_benchmark_model",
]
