"""Runs work items in worker processes, some of which may crash."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import tempfile

from benchmarks.errors import WorkerError
from benchmarks.messages import READY, Answer, Failure, Request, decode_answer, encode_request
from task_bundle.interpreter import INTERPRETER_VARIABLE, find_interpreter

# The child gets the search path of its parent, so that it imports this package from the same place.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from benchmarks import worker; worker.main()"
_SECONDS_PER_ITEM = 120.0


def ask(request: Request[Answer]) -> list[Answer | Failure]:
    """Has a fresh process answer a request. If it dies, another one does the remaining items.

    Args:
      request: The request.

    Returns:
      An answer for each item, in the order of the items.

    Raises:
      WorkerError: the process cannot be started, or ends before its first item.
    """
    answers: list[Answer | Failure] = []
    while len(answers) < len(request.items):
        rest = dataclasses.replace(request, items=request.items[len(answers) :])
        received, death = _ask_one_process(rest)
        answers += received
        if len(received) < len(rest.items):
            answers.append(Failure(death))
    return answers


def _ask_one_process(request: Request[Answer]) -> tuple[list[Answer | Failure], str]:
    """Returns the answers of one process, and why it ended if they are too few."""
    interpreter = find_interpreter()
    if interpreter is None:
        raise WorkerError(
            f"there is no Python interpreter to measure with; ${INTERPRETER_VARIABLE} can name one"
        )
    command = [interpreter, "-c", _CHILD, *sys.path]
    limit = _SECONDS_PER_ITEM * len(request.items)
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        except OSError as error:
            raise WorkerError(f"cannot measure in another process: {error}") from error
        with process:
            try:
                output, _ = process.communicate(encode_request(request), limit)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
                return _decode(request, output, "it does not start"), _too_long(limit)
            except BaseException:
                process.kill()
                raise
        stderr.seek(0)
        lines = stderr.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    death = _describe_death(process.returncode, last)
    return _decode(request, output, death), death


def _decode(request: Request[Answer], output: bytes, death: str) -> list[Answer | Failure]:
    _, ready, text = output.decode(errors="replace").partition(READY)
    if not ready:
        raise WorkerError(f"cannot measure in another process: {death}")
    # The last line of a process that died may be incomplete.
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    answers: list[Answer | Failure] = []
    for line in lines:
        answer = decode_answer(request, line)
        answers.append(answer)
    return answers


def _too_long(limit: float) -> str:
    return f"it takes more than {limit:g} s"


def _describe_death(status: int, last_line: str) -> str:
    if status < 0:
        return f"it ends the process by {signal.Signals(-status).name}: {last_line[:300]}"
    return f"it ends the process with status {status}: {last_line[:300]}"
