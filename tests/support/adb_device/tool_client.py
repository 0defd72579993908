"""A tool of the device, which passes its arguments and open files to the simulator.

It runs as a program of its own, without site-packages: python -IS tool_client.py NAME ARGUMENTS...
"""

import errno
import os
import socket
import sys


def ask(tool: str, arguments: list[str], files: tuple[int, ...] = (0, 1, 2)) -> list[str]:
    """Asks the device to run a tool; returns the exit status and the rest of the answer."""
    request = "\0".join([tool, str(os.getpid()), os.getcwd(), *arguments]).encode(
        errors="surrogateescape"
    )
    with socket.socket(socket.AF_UNIX) as device:
        device.connect("\0" + os.environ["ADB_DEVICE_SOCKET"])
        socket.send_fds(device, [len(request).to_bytes(4, "little")], files)
        device.sendall(request)
        answer = b""
        while part := device.recv(65536):
            answer += part
    return answer.decode(errors="surrogateescape").split("\0")


def main() -> int:
    """Runs the tool under whose name this program was called; returns its exit status."""
    try:
        status, *program = ask(os.path.basename(sys.argv[1]), sys.argv[2:])
    except OSError:
        return 1  # The device has stopped, so that nothing reads a message.
    if program:
        try:
            try:
                os.execvp(program[0], program)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                # Like the C library, this runs a file without an interpreter line as a script.
                os.execv("/bin/sh", ["/bin/sh", *program])
        except OSError as error:
            sys.stderr.write(f"{sys.argv[1]}: exec {program[0]}: {error.strerror}\n")
            return 127
    return int(status or 1)


if __name__ == "__main__":
    sys.exit(main())
