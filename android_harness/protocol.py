"""How phones are measured. Imports nothing heavy, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from android_harness.state import CaseRecord

TOOL = "benchmark_model"
# Names of the cases, the ways in which a model is run; `android_harness.cases` defines them.
CASE_NAMES = (
    "cpu-1",
    "cpu-4",
    "big-1",
    "big-4",
    "builtin-1",
    "builtin-4",
    "gpu",
    "gpu-float32",
    "nnapi",
)


@dataclass(frozen=True)
class Protocol:
    """How each phone is measured.

    Attributes:
      rounds: Rounds of each case; reports show medians over them.
      runs: Minimum number of counted calls in a round.
      min_seconds: Minimum time of the counted calls in a round.
      max_seconds: Time after which a round ends even with fewer calls.
      warm_up_seconds: Time of the calls before each round that are not counted.
      profile: Whether a separate run measures the times of operators.
      memory: Whether a separate run measures the peak of memory.
      max_thermal_status: Highest Android thermal status at which a round begins.
      max_celsius: Highest temperature of the battery at which a round begins.
      cool_seconds: How long to wait for the phone to cool down.
      poll_seconds: Time between checks of the temperature, and of whether a lost phone is back.
      return_seconds: How long to wait for a phone that is gone.
      app_runs: Counted calls in a round of the app.
    """

    rounds: int = 3
    runs: int = 50
    min_seconds: float = 1.0
    max_seconds: float = 60.0
    warm_up_seconds: float = 0.5
    profile: bool = True
    memory: bool = True
    max_thermal_status: int = 0
    max_celsius: float = 38.0
    cool_seconds: float = 900.0
    poll_seconds: float = 5.0
    return_seconds: float = 180.0
    app_runs: int = 50

    @property
    def run_timeout(self) -> float:
        """Time limit of a run of the tool in seconds; compiling GPU kernels may take minutes."""
        return 2 * self.max_seconds + self.warm_up_seconds + 180.0

    def missing_rounds(self, record: CaseRecord) -> range:
        """Returns the numbers of the rounds still to measure; empty if the case failed."""
        return range(len(record.rounds), self.rounds if record.error is None else 0)

    def missing_extras(self, record: CaseRecord) -> list[str]:
        """Returns the separate runs still to do: 'memory', 'profile'."""
        if record.runtime != TOOL or record.error is not None:
            return []
        wanted = [("memory", self.memory), ("profile", self.profile)]
        return [name for name, on in wanted if on and name not in record.extras_done]

    def is_done(self, record: CaseRecord) -> bool:
        """Returns whether nothing is left to measure of a case."""
        return not self.missing_rounds(record) and not self.missing_extras(record)
