"""Runs the device's own tools inside the simulator, on the open files of the caller."""

import contextlib
import dataclasses
import os
import socket
import threading
import uuid
from typing import IO, TYPE_CHECKING

from . import tools

if TYPE_CHECKING:
    from .device import AdbDevice


@dataclasses.dataclass
class ToolCall:
    """One call of a tool on the device.

    Attributes:
      words: Name of the tool and its arguments.
      pid: Process of the caller.
      folder: Working folder of the caller, a path of the host.
      stdin, stdout, stderr: Open files of the caller.
      answer: What the tool returns besides its exit status. For a caller of `tool_client` it is a
        program with arguments, by which the caller's process is replaced.
    """

    words: list[str]
    pid: int
    folder: str
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    answer: list[str] = dataclasses.field(default_factory=list)

    @property
    def arguments(self) -> list[str]:
        """The words without the name."""
        return self.words[1:]

    def say(self, text: str) -> None:
        """Prints text."""
        self.stdout.write(text.encode(errors="surrogateescape"))

    def complain(self, text: str) -> int:
        """Prints text on stderr; returns 1, the exit status of most errors."""
        self.stderr.write(text.encode(errors="surrogateescape"))
        return 1


class ToolServer:
    """Listens for the device's tools.

    Attributes:
      name: Name of its abstract Unix socket.
    """

    def __init__(self, device: "AdbDevice") -> None:
        self._device = device
        self.name = f"adb-device-{uuid.uuid4().hex}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("\0" + self.name)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="adb device tools", daemon=True)
        self._calls: list[threading.Thread] = []

    def start(self) -> None:
        """Starts listening."""
        self._thread.start()

    def stop(self) -> None:
        """Stops after the running calls have ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for call in self._calls:
            call.join()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return  # Stopped.
            call = threading.Thread(
                target=self._serve, args=(peer,), name="adb device tool", daemon=True
            )
            self._calls = [thread for thread in self._calls if thread.is_alive()] + [call]
            call.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            size, files, _, _ = socket.recv_fds(peer, 4, 3)
            try:
                if len(size) < 4 or len(files) < 3:
                    return  # The caller was killed.
                request = b""
                while len(request) < int.from_bytes(size, "little"):
                    part = peer.recv(65536)
                    if not part:
                        return
                    request += part
                tool, pid, folder, *arguments = request.decode(errors="surrogateescape").split("\0")
                stdin, stdout, stderr = (
                    os.fdopen(file, mode, buffering=0, closefd=False)
                    for file, mode in zip(files, ("rb", "wb", "wb"), strict=True)
                )
                call = ToolCall([tool, *arguments], int(pid), folder, stdin, stdout, stderr)
                # The reader of the output and the caller may have ended.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    status = tools.run(self._device, call)
                    peer.sendall(
                        "\0".join([str(status), *call.answer]).encode(errors="surrogateescape")
                    )
            finally:
                for file in files:
                    os.close(file)
