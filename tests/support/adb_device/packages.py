"""The apps on the device: installs and removes them, and runs their instrumentation."""

import dataclasses
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

if TYPE_CHECKING:
    from .device import AdbDevice

_ANDROID: Final = "{http://schemas.android.com/apk/res/android}"
_MANIFEST: Final = "AndroidManifest.xml"

_USER_CANCELLED: Final = 0
OK: Final = -1  # Activity.RESULT_OK


@dataclasses.dataclass
class Instrumentation:
    """A run of `am instrument`, which is the argument of a runner.

    Attributes:
      device: The device.
      component: "package/runner".
      extras: The -e arguments.
      say: Prints text.
      results: Results that the runner sets, printed as INSTRUMENTATION_RESULT lines in this order.
      code: INSTRUMENTATION_CODE.
    """

    device: "AdbDevice"
    component: str
    extras: dict[str, str]
    say: Callable[[str], None]
    results: dict[str, str] = dataclasses.field(default_factory=dict)
    code: int = OK

    def status(self, code: int, **values: str) -> None:
        """Prints progress at once, as INSTRUMENTATION_STATUS lines and their code."""
        lines = [f"INSTRUMENTATION_STATUS: {key}={value}\n" for key, value in values.items()]
        self.say("".join(lines) + f"INSTRUMENTATION_STATUS_CODE: {code}\n")


Runner = Callable[[Instrumentation], None]


@dataclasses.dataclass(frozen=True)
class Package:
    """An installed app."""

    name: str
    apk: bytes
    instrumentations: tuple[str, ...]


class Packages:
    """The installed apps.

    Attributes:
      installed: Apps by package name.
      runners: Functions that `am instrument` runs, by "package/runner", which tests set. A runner
        may raise an exception, as an app may crash.
      install_failure: Failure of the next installations, such as
        "INSTALL_FAILED_USER_RESTRICTED: Install canceled by user"; None if they succeed.
    """

    def __init__(self, device: "AdbDevice") -> None:
        self._device = device
        self.installed: dict[str, Package] = {}
        self.runners: dict[str, Runner] = {}
        self.install_failure: str | None = None

    def install(self, apk: bytes) -> str:
        """Installs an APK; returns the output of the package manager."""
        if self.install_failure:
            return f"Failure [{self.install_failure}]\n"
        try:
            self._device.faults.on_write(len(apk))
        except OSError:
            return "Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE]\n"
        try:
            package = _read_apk(apk)
        except (zipfile.BadZipFile, KeyError, ElementTree.ParseError):
            return (
                "Failure [INSTALL_PARSE_FAILED_NOT_APK: Failed to parse "
                "/data/app/vmdl1.tmp/base.apk]\n"
            )
        with zipfile.ZipFile(io.BytesIO(apk)) as archive:
            names = [re.match(r"lib/([^/]+)/.+\.so", name) for name in archive.namelist()]
        abis = {match[1] for match in names if match}
        if abis and not abis & set(self._device.phone.abis):
            return (
                "Failure [INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, "
                "res=-113]\n"
            )
        self.installed[package.name] = package
        return "Success\n"

    def uninstall(self, name: str) -> str:
        """Removes an app; returns the output of the package manager."""
        if self.installed.pop(name, None) is None:
            return "Failure [DELETE_FAILED_INTERNAL_ERROR]\n"
        return "Success\n"

    def instrument(
        self, component: str, extras: dict[str, str], say: Callable[[str], None], *, raw: bool
    ) -> int:
        """Runs an instrumentation, as `am instrument -w` does; returns the exit status."""
        package, _, runner = component.partition("/")
        if runner.startswith("."):
            component = f"{package}/{package}{runner}"
        known = [name for app in self.installed.values() for name in app.instrumentations]
        if component not in known:
            say(
                "INSTRUMENTATION_STATUS: id=ActivityManagerService\n"
                "INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: "
                f"ComponentInfo{{{component}}}\n"
                "INSTRUMENTATION_STATUS_CODE: -1\n"
                f"android.util.AndroidException: INSTRUMENTATION_FAILED: {component}\n"
                "\tat com.android.commands.am.Instrument.run(Instrument.java:543)\n"
            )
            return 1
        run = Instrumentation(self._device, component, extras, say)
        try:
            self.runners[component](run)
        except Exception as error:
            say(
                "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\n"
                f"INSTRUMENTATION_RESULT: longMsg={type(error).__name__}: {error}\n"
                f"INSTRUMENTATION_CODE: {_USER_CANCELLED}\n"
            )
            return 0
        if raw:
            lines = [f"INSTRUMENTATION_RESULT: {k}={v}\n" for k, v in run.results.items()]
        else:
            lines = [f"{run.results['stream']}\n"] if "stream" in run.results else []
        say("".join(lines) + f"INSTRUMENTATION_CODE: {run.code}\n")
        return 0


def make_apk(
    path: Path, package: str, runner: str | None = None, abis: tuple[str, ...] = ()
) -> Path:
    """Writes an APK that the simulated device can install; its manifest is plain text.

    Args:
      path: The file to write.
      package: Name of the package, such as "org.example.app".
      runner: Class of its instrumentation, with the package.
      abis: ABIs for which it has a native library.
    """
    instrumentation = (
        f'<instrumentation android:name="{runner}" android:targetPackage="{package}"/>'
        if runner
        else ""
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            _MANIFEST,
            '<manifest xmlns:android="http://schemas.android.com/apk/res/android" '
            f'package="{package}">{instrumentation}</manifest>',
        )
        for abi in abis:
            archive.writestr(f"lib/{abi}/libapp.so", b"\x7fELF")
    return path


def _read_apk(apk: bytes) -> Package:
    with zipfile.ZipFile(io.BytesIO(apk)) as archive:
        manifest = ElementTree.fromstring(archive.read(_MANIFEST))
    name = manifest.attrib["package"]
    runners = (tag.attrib[f"{_ANDROID}name"] for tag in manifest.iter("instrumentation"))
    return Package(
        name, apk, tuple(f"{name}/{name + r if r.startswith('.') else r}" for r in runners)
    )
