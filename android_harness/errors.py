"""Exceptions of this package. Each message is one line, and says what to do where that helps."""

from task_bundle.errors import UserError


class AndroidError(UserError, RuntimeError):
    """Base class of the errors of phones, of adb and of the programs that run on a phone."""


class AdbError(AndroidError):
    """The adb client is missing or fails."""


class AdbTimeoutError(AdbError):
    """A call exceeded its time limit."""


class DeviceLostError(AndroidError):
    """A phone is gone: its cable was pulled, it restarts, or the adb server ended."""


class DeviceRefusedError(AndroidError):
    """A phone cannot be used as it is: not authorized, too old, out of storage, and so on."""


class ToolError(AndroidError):
    """A program on the phone failed, or its output cannot be read."""


class InterruptedRunError(AndroidError):
    """The user stopped the run; calls that were running raise this."""
