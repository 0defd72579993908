"""A tuning in a process of its own, which can be watched and stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from mm_face_stylizer.studio.code_lines import BUNDLE_NAME
from mm_face_stylizer.studio.tuner import PREVIEW_NAME, STOP, TuningJob
from task_bundle.interpreter import find_interpreter

# The first steps take longer: TensorFlow prepares what the others repeat.
_WARM_UP_STEPS = 2
_MODULE = "mm_face_stylizer.studio.tuner"
_JOB, _LOG = "job.json", "tuning.log"


def can_tune() -> bool:
    """Whether the packages that tuning needs are installed."""
    return all(importlib.util.find_spec(name) for name in ("tensorflow", "tf_keras"))


@dataclasses.dataclass(frozen=True)
class TuningState:
    """How far a tuning is.

    Attributes:
      stage: What it does, in words.
      step: Number of completed steps.
      steps: Number of all steps.
      seconds_left: Estimated time to the end of the last step; None before there are steps to
        estimate it from.
      preview: File of the latest picture; None before the first.
      preview_step: The step after which that was made.
      bundle: The finished bundle; None before.
      error: Why it failed; None if it did not.
      running: Whether it goes on.
    """

    stage: str
    step: int
    steps: int
    seconds_left: float | None
    preview: pathlib.Path | None
    preview_step: int
    bundle: pathlib.Path | None
    error: str | None
    running: bool


class Tuning:
    """A tuning. Use it in a `with` statement, which ends the process."""

    def __init__(self, job: TuningJob, folder: pathlib.Path):
        """Starts the process.

        Args:
          job: What to tune.
          folder: Existing, empty folder for everything that is written.

        Raises:
          OSError: The process cannot be started.
        """
        self._steps = job.steps
        self._folder = folder
        self._lock = threading.Lock()
        self._said: dict[str, Any] = {"stage": "Starting", "step": 0, "preview": 0}
        self._times: dict[int, float] = {}
        self._stopping = False
        job.save(folder / _JOB)
        self._log = (folder / _LOG).open("wb")
        self._process = subprocess.Popen(
            [find_interpreter() or sys.executable, "-m", _MODULE, str(folder / _JOB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            # Ctrl-C ends the studio, which ends the tuning.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                values = json.loads(line)
            except ValueError:
                continue  # Libraries write to standard output, too.
            if not isinstance(values, dict):
                continue
            with self._lock:
                self._said |= values
                if "step" in values:
                    self._times[values["step"]] = time.monotonic()
        status = self._process.wait()
        with self._lock:
            if status and not self._stopping and "error" not in self._said:
                self._said["error"] = (
                    f"the process ended with status {status}: {self._last_words()}"
                )

    def _last_words(self) -> str:
        lines = (self._folder / _LOG).read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "without a message")

    @property
    def state(self) -> TuningState:
        """How far it is."""
        running = self._reader.is_alive()
        with self._lock:
            said = self._said
            preview = said["preview"]
            return TuningState(
                stage="Stopping" if self._stopping and running else said["stage"],
                step=said["step"],
                steps=self._steps,
                seconds_left=self._seconds_left(),
                preview=self._folder / PREVIEW_NAME if preview else None,
                preview_step=preview,
                bundle=self._folder / BUNDLE_NAME if said.get("finished") else None,
                error=said.get("error"),
                running=running,
            )

    def _seconds_left(self) -> float | None:
        steps = sorted(step for step in self._times if step >= _WARM_UP_STEPS)
        if len(steps) < 2:
            return None
        first, last = steps[0], steps[-1]
        rate = (self._times[last] - self._times[first]) / (last - first)
        return max(0.0, rate * (self._steps - last) - (time.monotonic() - self._times[last]))

    def stop(self) -> None:
        """Asks for an early end: the bundle of the steps so far is written.

        Before the first step there is nothing to keep, and the process is ended.
        """
        with self._lock:
            begun = self._said["step"] > 0
            if self._stopping:
                return
            self._stopping = True
        if not begun:
            self._process.kill()
            return
        assert self._process.stdin is not None
        # It may have just ended.
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{STOP}\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Ends the process if it runs. Closing twice does nothing."""
        self._stopping = True
        self._process.kill()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                # The other end of a pipe may be gone.
                with contextlib.suppress(OSError):
                    stream.close()

    def __enter__(self) -> Self:
        """Returns the tuning itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the process."""
        self.close()
