"""The services "shell:", "shell,v2:" and "exec:", as in adbd's shell_service.cpp."""

import contextlib
import os
import pty
import selectors
import signal
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from . import commands

if TYPE_CHECKING:
    from .connection import Stream
    from .device import AdbDevice

_PACKET: Final = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_CHUNK: Final = 64 * 1024
_GRACE: Final = 10.0


class ShellService:
    """Runs one command, or an interactive shell, on one stream.

    Args:
      device: The device.
      stream: Stream of input and output.
      command: Command to run; an interactive shell if empty.
      protocol: Whether output is wrapped in packets, which keep stdout and stderr apart and end
        with the exit status.
      terminal: Whether the command gets a terminal.
    """

    def __init__(
        self,
        device: "AdbDevice",
        stream: "Stream",
        command: str,
        *,
        protocol: bool,
        terminal: bool = False,
    ) -> None:
        self._device = device
        self._stream = stream
        self._command = command
        self._protocol = protocol
        self._terminal = terminal

    def run(self) -> None:
        """Runs the command until it ends; if the host disconnects, ends it as adbd does."""
        controller = -1
        if self._terminal:
            controller, terminal = pty.openpty()
            process = self._start(terminal, terminal, terminal)
            os.close(terminal)
            outputs = {controller: _STDOUT}
            stdin = os.dup(controller)
        else:
            stderr = subprocess.PIPE if self._protocol else subprocess.STDOUT
            process = self._start(subprocess.PIPE, subprocess.PIPE, stderr)
            assert process.stdin and process.stdout
            outputs = {process.stdout.fileno(): _STDOUT}
            if process.stderr:
                outputs[process.stderr.fileno()] = _STDERR
            stdin = os.dup(process.stdin.fileno())
            process.stdin.close()
        gone_read, gone_write = os.pipe()
        feeder = threading.Thread(
            target=self._feed, args=(stdin, gone_write), name="adb shell input", daemon=True
        )
        feeder.start()
        try:
            is_connected = self._pass_output(outputs, gone_read)
            for file in (process.stdout, process.stderr):
                if file:
                    file.close()
            if not is_connected:
                self._hang_up(process)
            status = process.wait()
            if self._protocol and is_connected:
                code = 0x80 | -status if status < 0 else status
                self._send(_EXIT, bytes([code]))
        finally:
            if controller >= 0:
                os.close(controller)
            self._stream.close()
            feeder.join()
            os.close(gone_read)

    def _hang_up(self, process: subprocess.Popen[bytes]) -> None:
        """Ends the command as adbd does when the host closes the stream."""
        if not self._protocol:
            # "adb exec-in" closes the stream after its input, which the command still has to read.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)

    def _start(self, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        root = str(self._device.disk.root)
        words = ["-c", commands.to_host(self._command, root)] if self._command else ["-i"]
        return subprocess.Popen(
            ["/system/bin/sh", *words],
            executable=self._device.shell,
            cwd=root,
            env=self._device.environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def _pass_output(self, outputs: dict[int, int], gone: int) -> bool:
        """Passes output on until it ends; returns whether the host was connected to the end."""
        root = str(self._device.disk.root)
        with selectors.DefaultSelector() as selector:
            for file, kind in outputs.items():
                output = commands.OutputFilter(root, messages=kind == _STDERR)
                selector.register(file, selectors.EVENT_READ, (kind, output))
            selector.register(gone, selectors.EVENT_READ)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.fd == gone:
                        return False
                    kind, output = key.data
                    try:
                        data = os.read(key.fd, _CHUNK)
                    except OSError:
                        data = b""  # EIO: the last program closed the terminal.
                    text = output.feed(data) if data else output.flush()
                    if not data:
                        selector.unregister(key.fd)
                    try:
                        if text:
                            self._send(kind, text)
                    except BrokenPipeError:
                        return False
        return True

    def _send(self, kind: int, data: bytes) -> None:
        self._stream.write(_PACKET.pack(kind, len(data)) + data if self._protocol else data)

    def _feed(self, stdin: int, gone: int) -> None:
        """Passes input on; closes `gone` when the host closes the stream."""
        open_stdin = True
        try:
            while True:
                if self._protocol:
                    kind, size = _PACKET.unpack(self._stream.read_exactly(_PACKET.size))
                    data = self._stream.read_exactly(size) if size else b""
                else:
                    kind, data = _STDIN, self._stream.read(_CHUNK)
                    if not data:
                        break
                if kind == _STDIN and open_stdin:
                    try:
                        while data:
                            data = data[os.write(stdin, data) :]
                    except OSError:
                        os.close(stdin)  # The command reads no more.
                        open_stdin = False
                elif kind == _CLOSE_STDIN and open_stdin and not self._terminal:
                    os.close(stdin)
                    open_stdin = False
        except EOFError:
            pass
        finally:
            if open_stdin:
                os.close(stdin)
            os.close(gone)
