"""How everything is measured; imports nothing heavy, for the sake of the command's --help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from android_harness.state import CaseRecord

TOOL = "benchmark_model"
# The ways in which a model is run; `android_harness.cases` says how.
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
    """How everything is measured, on all phones alike.

    Attributes:
      rounds: of each case; a report takes medians over them.
      runs: least counted calls of a round.
      min_seconds: least time that the counted calls of a round take.
      max_seconds: after which a round ends even with fewer calls.
      warm_up_seconds: of calls that do not count, before each round.
      profile: whether a further run gives times by operator.
      memory: whether a further run gives the peak of memory.
      max_thermal_status: a round begins at this thermal status or a lower one.
      max_celsius: of the battery, when a round begins.
      cool_seconds: how long to wait for that.
      poll_seconds: between looks at the thermometer, and at whether a lost phone is back.
      return_seconds: how long to wait for a phone that is gone.
      app_runs: counted calls of a round of the app.
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
        """Seconds after which a run of the tool hangs: GPU kernels may take minutes to compile."""
        return 2 * self.max_seconds + self.warm_up_seconds + 180.0

    def missing_rounds(self, record: CaseRecord) -> range:
        """Returns the numbers of the rounds that a case lacks; none once it failed."""
        return range(len(record.rounds), self.rounds if record.error is None else 0)

    def missing_extras(self, record: CaseRecord) -> list[str]:
        """Returns the runs besides the rounds that a case lacks."""
        if record.runtime != TOOL or record.error is not None:
            return []
        wanted = [("memory", self.memory), ("profile", self.profile)]
        return [name for name, on in wanted if on and name not in record.extras_done]

    def is_done(self, record: CaseRecord) -> bool:
        """Whether a case lacks nothing."""
        return not self.missing_rounds(record) and not self.missing_extras(record)
