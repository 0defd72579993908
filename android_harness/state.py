"""Results so far, kept in a file so that an interrupted run can be resumed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from android_harness.errors import AndroidError
from benchmarks.report import Coverage, Device, Memory, OperatorTime, Parity, Round, Settings
from task_bundle.files import atomic_write

_CONFIG = ConfigDict(strict=True, extra="forbid")


@dataclass(config=_CONFIG)
class CaseRecord:
    """Results of one case so far; the fields are those of a report's row, but for `extras_done`.

    Attributes:
      subject: Name of the subject.
      stage: The stage that is timed.
      runtime: What runs it.
      settings: How it is run.
      rounds: Rounds that are done.
      parity: Comparison of the result.
      memory: Memory of a separate run.
      coverage: Operators that the delegate runs.
      profile: Times by operator.
      extras_done: Separate runs that are done: 'memory', 'profile'.
      error: Why the case failed; None if it did not.
    """

    subject: str
    stage: str
    runtime: str
    settings: Settings
    rounds: tuple[Round, ...] = ()
    parity: tuple[Parity, ...] = ()
    memory: Memory | None = None
    coverage: Coverage | None = None
    profile: tuple[OperatorTime, ...] = ()
    extras_done: tuple[str, ...] = ()
    error: str | None = None


@dataclass(config=_CONFIG)
class PhoneRecord:
    """Results of one phone so far.

    Attributes:
      device: Description of the phone for the report.
      cases: Cases by 'subject/stage/case'.
    """

    device: Device
    cases: dict[str, CaseRecord] = field(default_factory=dict)


@dataclass(config=_CONFIG)
class State:
    """Results of a run so far.

    Attributes:
      fingerprint: Hash of all that results depend on: bundles, photo, app and options.
      began: When the run began, in the format of reports.
      seconds: Time that the run has taken so far.
      phones: Results by SHA-256 of the phone's serial number.
    """

    fingerprint: str
    began: str
    seconds: float = 0.0
    phones: dict[str, PhoneRecord] = field(default_factory=dict)


class StateFile:
    """A state that several threads change, and the file to which each change is written."""

    def __init__(self, path: Path, state: State, keep: bool = True) -> None:
        """Uses a state.

        Args:
          path: The file.
          state: The state.
          keep: Whether changes are written to the file, which a dry run does not want.
        """
        self.path = path
        self._keep = keep
        self._state = state
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, path: Path, fingerprint: str, began: str, restart: bool, keep: bool = True
    ) -> Self:
        """Reads the state of an interrupted run, or makes a new one if there is none.

        Args:
          path: The file.
          fingerprint: Fingerprint of this run.
          began: When this run began.
          restart: Whether to ignore an existing file.
          keep: Whether changes are written to the file.

        Returns:
          The state.

        Raises:
          AndroidError: the file is from a run with other bundles or options, or is damaged.
          OSError: the file cannot be read.
        """
        if restart or not path.exists():
            return cls(path, State(fingerprint, began), keep)
        again = "; --restart replaces it, another --output leaves it alone"
        try:
            state = _ADAPTER.validate_json(path.read_bytes())
        except ValidationError as error:
            raise AndroidError(f"{path} is not the state of an interrupted run{again}") from error
        if state.fingerprint != fingerprint:
            raise AndroidError(
                f"{path} is the state of an interrupted run with other bundles or options{again}"
            )
        return cls(path, state, keep)

    @contextmanager
    def change(self) -> Iterator[State]:
        """Locks the state for a change by one thread, and writes it to the file afterwards.

        Yields:
          The state.

        Raises:
          OSError: the file cannot be written.
        """
        with self._lock:
            yield self._state
            if self._keep:
                atomic_write(self.path, _ADAPTER.dump_json(self._state), overwrite=True)

    @contextmanager
    def read(self) -> Iterator[State]:
        """Locks the state for reading by one thread."""
        with self._lock:
            yield self._state

    def remove(self) -> None:
        """Deletes the file, after the run is complete."""
        if self._keep:
            self.path.unlink(missing_ok=True)


_ADAPTER: TypeAdapter[State] = TypeAdapter(State)
