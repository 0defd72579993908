"""Asking processes to do cases, some of which end the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.case import Case

# The parent's own search path: whatever made this package importable here works there.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from benchmarks import worker; worker.main()"
_SECONDS_A_CASE = 120.0


def ask(kind: str, cases: Sequence[Case], **request: Any) -> list[dict[str, Any]]:
    """Has a fresh process do cases, and another one the rest if it dies.

    Args:
      kind: 'prepare', 'time', 'memory' or 'models'; see `benchmarks.worker`.
      cases: the cases, in the order in which to do them.
      **request: what the kind of work needs besides.

    Returns:
      An answer for each case; one with an 'error' where it failed.

    Raises:
      OSError: the process cannot be started, or dies before its first case.
    """
    answers: list[dict[str, Any]] = []
    while len(answers) < len(cases):
        left = cases[len(answers) :]
        got, death = _ask_one({"kind": kind, "cases": [c.to_dict() for c in left], **request})
        answers += got
        if len(got) < len(left):
            answers.append({"error": death})
    return answers


def _ask_one(request: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Returns the answers of one process, and what it died of if they are too few."""
    command = [sys.executable, "-c", _CHILD, *sys.path]
    limit = _SECONDS_A_CASE * len(request["cases"])
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
    ):
        try:
            output, _ = process.communicate(json.dumps(request), limit)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            return _answers(output, "it does not begin"), f"it takes more than {limit:g} s"
        except BaseException:
            process.kill()
            raise
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    death = _death(process.returncode, last)
    return _answers(output, death), death


def _answers(output: str, death: str) -> list[dict[str, Any]]:
    # The last line of a process that died may be half of one.
    lines = [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith("\n")]
    if not lines:
        raise OSError(f"cannot measure in another process: {death}")
    return lines[1:]


def _death(status: int, last: str) -> str:
    if status < 0:
        return f"it ends the process by {signal.Signals(-status).name}: {last[:300]}"
    return f"it ends the process with status {status}: {last[:300]}"
