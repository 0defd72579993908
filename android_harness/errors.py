"""Exceptions of this package. Each message is one line that says what to do."""


class AndroidError(RuntimeError):
    """Base class: phones, adb or what runs on a phone do not do what they should."""


class AdbError(AndroidError):
    """The adb client is missing, too slow, or refuses to work."""


class AdbTimeoutError(AdbError):
    """A call took longer than it may."""


class DeviceLostError(AndroidError):
    """A phone that was there is gone: cable pulled, reboot, adb server ended."""


class DeviceRefusedError(AndroidError):
    """A phone cannot be used as it is: not authorized, too old, too little space and so on."""


class ToolError(AndroidError):
    """What ran on the phone failed, or gave an answer that makes no sense."""


class InterruptedRunError(AndroidError):
    """The user stopped the run; calls that were under way end with this."""
