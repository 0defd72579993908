"""What is measured so far, kept in a file so that a broken run goes on where it ended."""

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
    """What is known of one case: as a report's row, but not all of it yet.

    Attributes:
      subject: as a row has it; likewise the following.
      stage: likewise.
      runtime: likewise.
      settings: likewise.
      rounds: those done.
      parity: likewise.
      memory: likewise.
      coverage: likewise.
      profile: likewise.
      extras_done: the runs besides the rounds that are done: 'memory', 'profile'.
      error: why there will be no times.
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
    """What is known of one phone.

    Attributes:
      device: what a report says of it.
      cases: by subject, stage and case's name, joined with '/'.
    """

    device: Device
    cases: dict[str, CaseRecord] = field(default_factory=dict)


@dataclass(config=_CONFIG)
class State:
    """A run.

    Attributes:
      fingerprint: of everything that makes results comparable: bundles, tool, options.
      began: when, as reports have it.
      seconds: how long earlier parts of it took.
      phones: by SHA-256 of the serial number.
    """

    fingerprint: str
    began: str
    seconds: float = 0.0
    phones: dict[str, PhoneRecord] = field(default_factory=dict)


class StateFile:
    """A state that several threads change, written whole after each change."""

    def __init__(self, path: Path, state: State, keep: bool = True) -> None:
        """Takes a state.

        Args:
          path: the file.
          state: what is in it, or will be.
          keep: whether changes are written; a dry run leaves the file alone.
        """
        self.path = path
        self._keep = keep
        self._state = state
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, path: Path, fingerprint: str, began: str, restart: bool, keep: bool = True
    ) -> Self:
        """Reads the file of an earlier run, or begins anew where there is none.

        Args:
          path: the file.
          fingerprint: of this run.
          began: when this run began.
          restart: whether to begin anew in any case.
          keep: whether changes are written.

        Returns:
          The state.

        Raises:
          AndroidError: the file is of a run with other bundles or options, or damaged.
          OSError: it cannot be read.
        """
        if restart or not path.exists():
            return cls(path, State(fingerprint, began), keep)
        again = "; --restart begins anew, another --output leaves it alone"
        try:
            state = _ADAPTER.validate_json(path.read_bytes())
        except ValidationError as error:
            raise AndroidError(f"{path} is not the state of a broken run{again}") from error
        if state.fingerprint != fingerprint:
            raise AndroidError(
                f"{path} is the state of a broken run with other bundles or options{again}"
            )
        return cls(path, state, keep)

    @contextmanager
    def change(self) -> Iterator[State]:
        """Lends the state to one thread, and writes it afterwards.

        Yields:
          The state.

        Raises:
          OSError: it cannot be written.
        """
        with self._lock:
            yield self._state
            if self._keep:
                atomic_write(self.path, _ADAPTER.dump_json(self._state), overwrite=True)

    @contextmanager
    def read(self) -> Iterator[State]:
        """Lends the state to one thread that only looks at it."""
        with self._lock:
            yield self._state

    def remove(self) -> None:
        """Deletes the file: the run is complete."""
        if self._keep:
            self.path.unlink(missing_ok=True)


_ADAPTER: TypeAdapter[State] = TypeAdapter(State)
