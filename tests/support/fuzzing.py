"""What a damaged bundle might do to the process that opens it."""

import os
import signal
import time


def crash(content: bytes) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def linger(content: bytes) -> str:
    end = time.process_time() + 2.2
    while time.process_time() < end:
        pass
    return "opened"


def swell(content: bytes) -> int:
    return len(bytearray(b"x") * (1100 * 2**20))
