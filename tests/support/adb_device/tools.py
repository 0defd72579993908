"""Android's own tools, with the output formats of AOSP and toybox."""

import contextlib
import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import dumpsys, programs
from .binaries import abi_of, from_disk
from .thermal import SEVERE

if TYPE_CHECKING:
    from .device import AdbDevice
    from .tool_server import ToolCall

Tool = Callable[["AdbDevice", "ToolCall"], int]

_DATA_MOUNT: Final = "/dev/block/dm-47"
_WAKE_KEYS: Final = {"224", "KEYCODE_WAKEUP", "82", "KEYCODE_MENU", "3", "KEYCODE_HOME"}
_SLEEP_KEYS: Final = {"223", "KEYCODE_SLEEP"}
_POWER_KEYS: Final = {"26", "KEYCODE_POWER"}
_STAY_ON: Final = {"true": "15", "false": "0", "ac": "1", "usb": "2", "wireless": "4"}


def run(device: "AdbDevice", call: "ToolCall") -> int:
    """Runs the tool of a call; returns its exit status."""
    name = call.words[0]
    if name in _QUESTIONS:
        return _QUESTIONS[name](device, call)
    device.commands.append(_device_words(device, call.words))
    return TOOLS[name](device, call)


def _device_words(device: "AdbDevice", words: list[str]) -> list[str]:
    return [word.replace(f"{device.disk.root}/", "/") for word in words]


def _getprop(device: "AdbDevice", call: "ToolCall") -> int:
    if not call.arguments:
        for key, value in sorted(device.properties.items()):
            call.say(f"[{key}]: [{value}]\n")
        return 0
    default = call.arguments[1] if len(call.arguments) > 1 else ""
    call.say(device.properties.get(call.arguments[0], "") or default)
    call.say("\n")
    return 0


def _setprop(device: "AdbDevice", call: "ToolCall") -> int:
    key, value = call.arguments
    if not key.startswith(("debug.", "log.")):
        call.stderr.write(f"Failed to set property '{key}' to '{value}'.\n".encode())
        return 1
    device.properties[key] = value
    return 0


def _settings(device: "AdbDevice", call: "ToolCall") -> int:
    verb, space, *rest = call.arguments
    if verb == "list":
        for key, value in sorted(device.settings.items()):
            if key.startswith(f"{space}/"):
                call.say(f"{key.partition('/')[2]}={value}\n")
    elif verb == "get":
        call.say(device.settings.get(f"{space}/{rest[0]}", "null") + "\n")
    elif verb == "put":
        device.settings[f"{space}/{rest[0]}"] = rest[1]
    elif verb == "delete":
        gone = device.settings.pop(f"{space}/{rest[0]}", None)
        call.say(f"Deleted {int(gone is not None)} rows\n")
    else:
        return call.complain(f"Unknown command: {verb}\n")
    return 0


def _input(device: "AdbDevice", call: "ToolCall") -> int:
    if call.arguments[:1] == ["keyevent"]:
        for key in call.arguments[1:]:
            if key in _WAKE_KEYS:
                device.screen_on = True
            elif key in _SLEEP_KEYS:
                device.screen_on = False
            elif key in _POWER_KEYS:
                device.screen_on = not device.screen_on
    return 0


def _svc(device: "AdbDevice", call: "ToolCall") -> int:
    if call.arguments[:2] == ["power", "stayon"] and call.arguments[2] in _STAY_ON:
        device.settings["global/stay_on_while_plugged_in"] = _STAY_ON[call.arguments[2]]
        if call.arguments[2] != "false" and device.battery.usb_powered:
            device.screen_on = True
    return 0


def _dumpsys(device: "AdbDevice", call: "ToolCall") -> int:
    service, *arguments = call.arguments or [""]
    if service == "battery" and arguments:
        return dumpsys.set_battery(device, call, arguments)
    text = dumpsys.dump(device, service, arguments)
    if text is None:
        call.stderr.write(f"Can't find service: {service}\n".encode())
        return 0
    call.say(text)
    return 0


def _df(device: "AdbDevice", call: "ToolCall") -> int:
    options = "".join(word[1:] for word in call.arguments if word.startswith("-"))
    paths = [word for word in call.arguments if not word.startswith("-")] or ["/data"]
    size, used = device.phone.storage_kib, device.phone.used_kib
    room = device.faults.room
    if room is not None:
        used = size - room // 1024
    rows = []
    status = 0
    for path in paths:
        inside = device.disk.remote_path(path)
        if not device.disk.host_path(inside).exists():
            status = call.complain(f"df: {inside}: No such file or directory\n")
        elif inside.startswith(("/data", "/sdcard", "/storage")):
            rows.append((_DATA_MOUNT, size, used, "/data"))
        else:
            rows.append(("/dev/block/dm-5", 841_656, 838_976, "/"))
    human = "h" in options or "H" in options
    if rows:
        call.say(_df_table(rows, human=human, base=1000 if "H" in options else 1024))
    return status


def _df_table(rows: list[tuple[str, int, int, str]], *, human: bool, base: int) -> str:
    """Returns the table as toybox prints it."""
    first = max(14, *(len(row[0]) for row in rows))
    lines = []
    if human:
        lines.append(f"{'Filesystem':{first}} Size  Used Avail Use% Mounted on")
    else:
        widths = [
            max(len(title), *(len(str(number)) for number in numbers))
            for title, numbers in (
                ("1K-blocks", [row[1] for row in rows]),
                ("Used", [row[2] for row in rows]),
                ("Available", [row[1] - row[2] for row in rows]),
            )
        ]
        lines.append(
            f"{'Filesystem':{first}} {'1K-blocks':>{widths[0]}} {'Used':>{widths[1]}} "
            f"{'Available':>{widths[2]}} Use% Mounted on"
        )
    for name, size, used, mount in rows:
        percent = -(-used * 100 // size)
        if human:
            numbers = [_human(kib * 1024, base) for kib in (size, used, size - used)]
            lines.append(
                f"{name:{first}} {numbers[0]:>4}  {numbers[1]:>4}  {numbers[2]:>4} "
                f"{percent:3}% {mount}"
            )
        else:
            lines.append(
                f"{name:{first}} {size:{widths[0]}} {used:{widths[1]}} "
                f"{size - used:{widths[2]}} {percent:3}% {mount}"
            )
    return "\n".join(lines) + "\n"


def _human(size: float, base: int) -> str:
    for unit in ("", "K", "M", "G", "T"):
        if size < 1000:
            return f"{size:.1f}{unit}" if size < 10 and unit else f"{size:.0f}{unit}"
        size /= base
    return f"{size:.0f}P"


def _nproc(device: "AdbDevice", call: "ToolCall") -> int:
    call.say(f"{len(device.phone.core_frequencies_khz)}\n")
    return 0


def _taskset(device: "AdbDevice", call: "ToolCall") -> int:
    words = call.arguments
    if words[:1] == ["-p"] or len(words) < 2:
        return call.complain("taskset: Needs 2 args\n")
    mask, *program = words
    if not re.fullmatch(r"[0-9a-fA-F]+", mask):
        return call.complain(f"taskset: bad mask '{mask}'\n")
    if not int(mask, 16) & ((1 << len(device.phone.core_frequencies_khz)) - 1):
        return call.complain(
            f"taskset: failed to set pid {call.pid}'s affinity: Invalid argument\n"
        )
    # The mask names cores of the phone; the host's affinity is left alone.
    call.answer = program
    return 0


def _uptime(device: "AdbDevice", call: "ToolCall") -> int:
    seconds = int(device.uptime)
    hours, minutes = divmod(seconds // 60, 60)
    call.say(
        f" {time.strftime('%H:%M:%S')} up {hours // 24} days, {hours % 24:2}:{minutes:02},  "
        "0 users,  load average: 0.52, 0.41, 0.30\n"
    )
    return 0


def _id(device: "AdbDevice", call: "ToolCall") -> int:
    if call.arguments == ["-u"]:
        call.say("2000\n")
    elif call.arguments == ["-un"]:
        call.say("shell\n")
    else:
        call.say(
            "uid=2000(shell) gid=2000(shell) groups=2000(shell),1004(input),1007(log),1011(adb),"
            "1015(sdcard_rw),1028(sdcard_r),3001(net_bt_admin),3002(net_bt),3003(inet),"
            "3006(net_bw_stats),3009(readproc),3011(uhid) context=u:r:shell:s0\n"
        )
    return 0


def _whoami(device: "AdbDevice", call: "ToolCall") -> int:
    call.say("shell\n")
    return 0


def _uname(device: "AdbDevice", call: "ToolCall") -> int:
    machine = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv8l"}.get(
        device.phone.abis[0], device.phone.abis[0]
    )
    options = "".join(call.arguments)
    if "m" in options:
        call.say(f"{machine}\n")
    elif "a" in options:
        release = "5.10.189-android13-4-00001-g1234567"
        call.say(f"Linux localhost {release} #1 SMP PREEMPT {machine} Toybox\n")
    else:
        call.say("Linux\n")
    return 0


def _getenforce(device: "AdbDevice", call: "ToolCall") -> int:
    call.say("Enforcing\n")
    return 0


def _sleep(device: "AdbDevice", call: "ToolCall") -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    total = 0.0
    for word in call.arguments:
        match = re.fullmatch(r"(\d*\.?\d+)([smhd]?)", word)
        if not match:
            return call.complain(f"sleep: Not {word}\n")
        total += float(match[1]) * units[match[2] or "s"]
    device.sleep(total)
    return 0


def _reboot(device: "AdbDevice", call: "ToolCall") -> int:
    device.reboot()
    return 0


def _logcat(device: "AdbDevice", call: "ToolCall") -> int:
    if "-c" not in call.arguments:
        call.say("--------- beginning of main\n")
    return 0


def _which(device: "AdbDevice", call: "ToolCall") -> int:
    status = 0
    for name in call.arguments:
        if (device.disk.root / "system/bin" / name).exists():
            call.say(f"/system/bin/{name}\n")
        else:
            status = 1
    return status


def _sh(device: "AdbDevice", call: "ToolCall") -> int:
    """Runs a shell with -c, or on a script whose paths are then translated to the host's."""
    from .commands import to_host

    words = call.arguments
    if words and not words[0].startswith("-"):
        script = words[0]
        path = script if script.startswith("/") else os.path.join(call.folder, script)
        try:
            text = device.disk.host_path(device.disk.remote_path(path)).read_text()
        except OSError as error:
            call.complain(f"/system/bin/sh: {script}: {error.strerror}\n")
            return 127
        # As with "sh script", $0 is the script and $1 the first argument.
        words = ["-c", to_host(text, str(device.disk.root)), *words]
    call.answer = [device.shell, *words]
    return 0


# Processes. Only those of the host that the device started are visible.


def _ps(device: "AdbDevice", call: "ToolCall") -> int:
    call.say("USER           PID  PPID        VSZ    RSS WCHAN            ADDR S NAME\n")
    for pid, words in device.processes():
        if words:
            name = device.disk.remote_path(_program(words))
            call.say(f"shell        {pid:5} {1:5} {0:10} {0:6} 0                   0 S {name}\n")
    return 0


def _program(words: list[str]) -> str:
    """Returns the name of a process; for a script, its own and not that of its interpreter."""
    for index, word in enumerate(words[1:-1], start=1):
        if word in programs.NAMED:
            return words[index + 1]
    scripted = os.path.basename(words[0]) in ("sh", "dash") and len(words) > 1
    return words[1] if scripted and not words[1].startswith("-") else words[0]


def _matching(device: "AdbDevice", call: "ToolCall", *, exact: bool) -> list[int]:
    root = str(device.disk.root)
    patterns = [word.replace(root, "") for word in call.arguments if not word.startswith("-")]
    whole = any(re.fullmatch(r"-\w*f\w*", word) for word in call.arguments)
    found = []
    for pid, words in device.processes():
        if not words or pid == call.pid:
            continue
        start = words.index(_program(words))
        line = " ".join(words[start:] if start < 4 else words).replace(root, "")
        name = line if whole else os.path.basename(words[start])
        for pattern in patterns:
            if name == pattern or (not exact and re.search(pattern, name)):
                found.append(pid)
                break
    return sorted(found)


def _pidof(device: "AdbDevice", call: "ToolCall") -> int:
    found = _matching(device, call, exact=True)
    if found:
        call.say(" ".join(map(str, found)) + "\n")
    return 0 if found else 1


def _pgrep(device: "AdbDevice", call: "ToolCall") -> int:
    found = _matching(device, call, exact=False)
    for pid in found:
        call.say(f"{pid}\n")
    return 0 if found else 1


def _signal_number(call: "ToolCall") -> int:
    for index, word in enumerate(call.arguments):
        if word in ("-s", "-l") and index + 1 < len(call.arguments):
            word = "-" + call.arguments.pop(index + 1)
        if re.fullmatch(r"-\d+", word):
            return int(word[1:])
        name = word[1:].removeprefix("SIG")
        if word.startswith("-") and f"SIG{name}" in signal.Signals.__members__:
            return signal.Signals[f"SIG{name}"]
    return signal.SIGTERM


def _pkill(device: "AdbDevice", call: "ToolCall") -> int:
    return _send_signal(device, call, exact=False)


def _killall(device: "AdbDevice", call: "ToolCall") -> int:
    return _send_signal(device, call, exact=True)


def _send_signal(device: "AdbDevice", call: "ToolCall", *, exact: bool) -> int:
    number = _signal_number(call)
    found = _matching(device, call, exact=exact)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    if not found and exact:
        call.complain(f"killall: {call.arguments[-1]}: No such process\n")
    return 0 if found else 1


# Checksums, which are those of the files as they were pushed.


def _sum(device: "AdbDevice", call: "ToolCall") -> int:
    status = 0
    for name in [word for word in call.arguments if not word.startswith("-")] or ["-"]:
        shown = device.disk.remote_path(name)
        try:
            if name == "-":
                data = call.stdin.read()
            else:
                path = os.path.join(call.folder, name)
                data = device.disk.host_path(device.disk.remote_path(path)).read_bytes()
        except OSError as error:
            status = call.complain(f"{call.words[0]}: {shown}: {error.strerror}\n")
            continue
        digest = hashlib.new(call.words[0].removesuffix("sum"), from_disk(data))
        call.say(f"{digest.hexdigest()}  {shown}\n")
    return status


# Apps.


def _pm(device: "AdbDevice", call: "ToolCall") -> int:
    return _package(device, call, call.arguments)


def _cmd(device: "AdbDevice", call: "ToolCall") -> int:
    service, *arguments = call.arguments or [""]
    if service == "package":
        return _package(device, call, arguments)
    if service == "thermalservice":
        return dumpsys.override_thermal(device, call, arguments)
    if service == "battery":
        return dumpsys.set_battery(device, call, arguments)
    if service == "settings":
        call.words = ["settings", *arguments]
        return _settings(device, call)
    call.stderr.write(f"cmd: Can't find service: {service}\n".encode())
    return 20


def _package(device: "AdbDevice", call: "ToolCall", arguments: list[str]) -> int:
    verb, *rest = arguments or ["help"]
    words = [word for word in rest if not word.startswith("-")]
    if verb == "install":
        answer = device.packages.install(_apk(device, call, rest))
    elif verb == "uninstall":
        answer = device.packages.uninstall(words[-1])
    elif verb == "path":
        if words[0] not in device.packages.installed:
            return 1
        answer = f"package:/data/app/~~sim==/{words[0]}-sim==/base.apk\n"
    elif verb == "list" and words[:1] == ["packages"]:
        names = sorted(device.packages.installed)
        answer = "".join(f"package:{n}\n" for n in names if all(w in n for w in words[1:]))
    elif verb == "list" and words[:1] == ["instrumentation"]:
        answer = "".join(
            f"instrumentation:{component} (target={app.name})\n"
            for app in device.packages.installed.values()
            for component in app.instrumentations
        )
    elif verb in ("grant", "revoke", "clear"):
        answer = "Success\n" if verb == "clear" else ""
    else:
        return call.complain(f"Unknown command: {verb}\n")
    call.say(answer)
    return int(answer.startswith("Failure"))


def _apk(device: "AdbDevice", call: "ToolCall", arguments: list[str]) -> bytes:
    """Returns the APK, which comes on stdin after -S SIZE, and else is a file on the disk."""
    if "-S" in arguments:
        left = int(arguments[arguments.index("-S") + 1])
        data = bytearray()
        while left and (part := call.stdin.read(left)):
            data += part
            left -= len(part)
        return bytes(data)
    path = device.disk.remote_path(arguments[-1])
    try:
        return device.disk.host_path(path).read_bytes()
    except OSError:
        return b""  # The package manager reports that this is not an APK.


def _am(device: "AdbDevice", call: "ToolCall") -> int:
    verb, *rest = call.arguments or [""]
    if verb == "force-stop":
        return 0
    if verb != "instrument":
        return call.complain(f"Unknown command: {verb}\n")
    extras: dict[str, str] = {}
    raw = False
    component = ""
    words = iter(rest)
    for word in words:
        if word == "-e":
            key = next(words)
            extras[key] = next(words)
        elif word == "-r":
            raw = True
        elif word in ("--user", "--abi", "-p"):
            next(words)
        elif not word.startswith("-"):
            component = word
    return device.packages.instrument(component, extras, call.say, raw=raw)


# Requests of the stand-in for benchmark_model.


def _run_begins(device: "AdbDevice", call: "ToolCall") -> int:
    program, *flags = call.arguments
    abi = abi_of(Path(call.folder, program).read_bytes())
    if abi not in device.phone.abis:
        call.answer = [f"not executable: {64 if abi and '64' in abi else 32}-bit ELF file"]
        return 126
    device.commands.append(_device_words(device, ["benchmark_model", *flags]))
    device.thermal.start_run(call.pid)
    call.answer = [
        json.dumps(
            {
                **device.faults.on_run(),
                "gpu": device.phone.has_gpu,
                "nnapi": device.phone.has_nnapi,
            }
        )
    ]
    return 0


def _run_measures(device: "AdbDevice", call: "ToolCall") -> int:
    device.faults.on_first_inference()
    reading = device.thermal.read()
    call.answer = [str(device.thermal.slowdown if reading.status >= SEVERE else 1.0)]
    return 0


def _run_writes(device: "AdbDevice", call: "ToolCall") -> int:
    try:
        device.faults.on_write(int(call.arguments[0]))
    except OSError:
        return 1
    return 0


def _run_ends(device: "AdbDevice", call: "ToolCall") -> int:
    device.thermal.end_run(call.pid)
    return 0


TOOLS: Final[dict[str, Tool]] = {
    "am": _am,
    "cmd": _cmd,
    "df": _df,
    "dumpsys": _dumpsys,
    "getenforce": _getenforce,
    "getprop": _getprop,
    "id": _id,
    "input": _input,
    "killall": _killall,
    "logcat": _logcat,
    "md5sum": _sum,
    "nproc": _nproc,
    "pgrep": _pgrep,
    "pidof": _pidof,
    "pkill": _pkill,
    "pm": _pm,
    "ps": _ps,
    "reboot": _reboot,
    "setprop": _setprop,
    "settings": _settings,
    "sh": _sh,
    "sha1sum": _sum,
    "sha224sum": _sum,
    "sha256sum": _sum,
    "sha384sum": _sum,
    "sha512sum": _sum,
    "sleep": _sleep,
    "svc": _svc,
    "taskset": _taskset,
    "uname": _uname,
    "uptime": _uptime,
    "which": _which,
    "whoami": _whoami,
}

_QUESTIONS: Final[dict[str, Tool]] = {
    "run-begins": _run_begins,
    "run-measures": _run_measures,
    "run-writes": _run_writes,
    "run-ends": _run_ends,
}
