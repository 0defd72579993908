"""Results of a benchmark: what was measured, on what, how, and every number.

One format for desktops and phones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from task_bundle.result import CONFIG, Count, Instant, Result, Sha256, Text

FORMAT: Final = "mm-face-stylizer-benchmark"
VERSION: Final = 1

Milliseconds = Annotated[float, Field(ge=0.0)]
Bytes = Annotated[int, Field(ge=0)]
# What is measured: a word such as 'end_to_end', 'stylizer', 'detector', 'landmarks', 'crop'.
Stage = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


@dataclass(frozen=True, config=CONFIG)
class Conditions:
    """State of a device at one moment; what it does not tell is None.

    Attributes:
      load: how many processes wanted a core, mean of the last minute.
      celsius: of the processor; of a phone's battery.
      thermal_status: Android's, from 0 (none) to 6 (shutdown); from 3 (severe) on it throttles.
      battery_percent: charge of the battery.
      charging: whether it is being charged.
      screen_on: whether the screen is lit.
    """

    load: Annotated[float, Field(ge=0.0)] | None = None
    celsius: float | None = None
    thermal_status: Annotated[int, Field(ge=0, le=6)] | None = None
    battery_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    screen_on: bool | None = None


@dataclass(frozen=True, config=CONFIG)
class Device:
    """The computer or phone that was measured.

    Attributes:
      name: what rows and tables call it; unique in a report.
      kind: 'host', where Python runs, or 'phone'.
      processor: CPU model of a host, SoC of a phone.
      architecture: instruction set or ABI, such as 'x86_64' or 'arm64-v8a'.
      cores: how many there are.
      system: operating system and version, such as 'Linux 6.1' or 'Android 14 (API 34)'.
      cpu_flags: instruction set extensions.
      governor: frequency governor of the first core.
      memory_bytes: RAM.
      versions: of what took part, by name.
      serial_sha256: of a phone's serial number, which is nobody's business itself.
      before: before the first row.
      after: after the last row.
    """

    name: Text
    kind: Literal["host", "phone"]
    processor: Text
    architecture: Text
    cores: Annotated[int, Field(ge=1)]
    system: Text
    cpu_flags: tuple[Text, ...] = ()
    governor: Text | None = None
    memory_bytes: Bytes | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    serial_sha256: Sha256 | None = None
    before: Conditions | None = None
    after: Conditions | None = None


@dataclass(frozen=True, config=CONFIG)
class Model:
    """One TFLite model of a subject.

    Attributes:
      stage: what it does in the subject.
      sha256: of the flatbuffer.
      size_bytes: of the flatbuffer.
      input_shape: of its first input.
      output_shape: of its first output.
      weights: type of most weights: 'float32', 'float16', 'int8' and so on.
      parameters: number of weights.
      macs: multiply-accumulates of a run.
      operators: how many of each.
    """

    stage: Stage
    sha256: Sha256
    size_bytes: Bytes
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    weights: Text
    parameters: Count
    macs: Count
    operators: dict[str, Count]


@dataclass(frozen=True, config=CONFIG)
class Subject:
    """A file that was measured: a bundle, or a single model.

    Attributes:
      name: what rows and tables call it; unique in a report.
      file: its name without folders.
      sha256: of the file.
      size_bytes: of the file.
      models: what is in it.
    """

    name: Text
    file: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    sha256: Sha256
    size_bytes: Bytes
    models: tuple[Model, ...]


@dataclass(frozen=True, config=CONFIG)
class Settings:
    """How a row was run; None where a setting does not apply or the runtime decides.

    Attributes:
      threads: the runtime was told to use so many.
      cores: cores that the process was bound to, such as '0' or '4-7'.
      delegate: 'xnnpack', 'gpu', 'nnapi', or 'none' for TFLite's own kernels.
      gpu_precision: 'float32', or 'float16' where the delegate may lose precision.
      batch: pictures handed over together.
      faces: faces in the photo.
      photo: width and height of the photo in pixels.
    """

    threads: Annotated[int, Field(ge=1)] | None = None
    cores: Text | None = None
    delegate: Literal["xnnpack", "gpu", "nnapi", "none"] | None = None
    gpu_precision: Literal["float32", "float16"] | None = None
    batch: Annotated[int, Field(ge=1)] | None = None
    faces: Count | None = None
    photo: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None


@dataclass(frozen=True, config=CONFIG)
class Aggregate:
    """What a tool says of its calls where it does not list them; milliseconds.

    Attributes:
      count: calls.
      mean: of them.
      minimum: of them.
      maximum: of them.
      standard_deviation: of them.
      p50: their median.
    """

    count: Annotated[int, Field(ge=1)]
    mean: Milliseconds
    minimum: Milliseconds | None = None
    maximum: Milliseconds | None = None
    standard_deviation: Milliseconds | None = None
    p50: Milliseconds | None = None


@dataclass(frozen=True, config=CONFIG)
class Round:
    """Counted calls made one after the other, usually in a process of their own.

    Attributes:
      samples_ms: time of each call; empty where the tool gives an aggregate only.
      aggregate: the tool's own statistics, where there are no samples.
      control_ms: calls of the drift control, a model that is the same in every round, made just
        before and after.
      creation_ms: from the model to an object that is ready to be called.
      first_call_ms: its first call. Warm-up calls follow, which are not kept.
      before: the device before the round.
      after: the device after it.
      throttled: whether the device slowed itself down during the round.
    """

    samples_ms: tuple[Milliseconds, ...] = ()
    aggregate: Aggregate | None = None
    control_ms: tuple[Milliseconds, ...] = ()
    creation_ms: Milliseconds | None = None
    first_call_ms: Milliseconds | None = None
    before: Conditions | None = None
    after: Conditions | None = None
    throttled: bool = False

    def __post_init__(self) -> None:
        """Checks that there are samples or an aggregate.

        Raises:
          ValueError: there is neither, or both.
        """
        if bool(self.samples_ms) == (self.aggregate is not None):
            raise ValueError("a round has samples_ms or an aggregate, and not both")


@dataclass(frozen=True, config=CONFIG)
class Memory:
    """Memory of a process that did nothing but run one row, without timing it.

    Attributes:
      baseline_bytes: resident, before anything of the row was loaded.
      steady_bytes: resident, after the calls.
      peak_bytes: the most that was resident at any time.
      calls: how many calls there were.
    """

    baseline_bytes: Bytes
    steady_bytes: Bytes
    peak_bytes: Bytes
    calls: Count


@dataclass(frozen=True, config=CONFIG)
class Parity:
    """How far a row's result is from what it should be.

    Attributes:
      against: what it was compared with, such as 'float32' or 'reference picture'.
      unit: 'grey levels' of 255 for pictures, 'pixels' for landmarks, 'relative' otherwise.
      mean: mean absolute difference.
      maximum: greatest absolute difference.
      limit: the greatest mean that passes.
      passed: whether it is the right result.
    """

    against: Text
    unit: Literal["grey levels", "pixels", "relative"]
    mean: Annotated[float, Field(ge=0.0)]
    maximum: Annotated[float, Field(ge=0.0)]
    limit: Annotated[float, Field(ge=0.0)]
    passed: bool


@dataclass(frozen=True, config=CONFIG)
class Coverage:
    """How much of a model its delegate takes.

    Attributes:
      delegated: operators of the model that it takes.
      operators: operators of the model.
      partitions: parts into which they fall; each costs a handover.
    """

    delegated: Count
    operators: Count
    partitions: Count


@dataclass(frozen=True, config=CONFIG)
class OperatorTime:
    """Time that one operator takes in a run of a model.

    Attributes:
      operator: its kind, as the tool calls it.
      name: which of them, such as its output tensor.
      mean_ms: time in a run: the mean, or the median where every run is known.
      calls: how often it runs in one run of the model.
    """

    operator: Text
    name: str
    mean_ms: Milliseconds
    calls: Count = 1


@dataclass(frozen=True, config=CONFIG)
class Row:
    """One case: a stage of a subject, run in one way on one device.

    Attributes:
      device: a `Device.name` of the report.
      subject: a `Subject.name` of the report.
      stage: what was timed.
      runtime: what ran it: 'mediapipe' (Google's FaceStylizer for Python), 'portable'
        (task_bundle's), 'litert', 'benchmark_model', 'tasks-vision', and so on.
      settings: how it was run.
      rounds: the counted calls.
      parity: comparisons of the result; empty where the tool shows none.
      memory: of a separate run.
      coverage: of the delegate.
      profile: operator by operator, slowest first.
      error: why there are no times; None if there are.
    """

    device: Text
    subject: Text
    stage: Stage
    runtime: Text
    settings: Settings = Field(default_factory=Settings)
    rounds: tuple[Round, ...] = ()
    parity: tuple[Parity, ...] = ()
    memory: Memory | None = None
    coverage: Coverage | None = None
    profile: tuple[OperatorTime, ...] = ()
    error: Text | None = None

    def __post_init__(self) -> None:
        """Checks that there are times exactly where nothing went wrong.

        Raises:
          ValueError: there are times of a failed row or of a wrong result, or none at all.
        """
        wrong = [parity.against for parity in self.parity if not parity.passed]
        if wrong and self.error is None:
            raise ValueError(f"the result differs from {', '.join(wrong)}: the row needs an error")
        if self.error is None and not self.rounds:
            raise ValueError("a row without an error needs rounds")
        if self.error is not None and self.rounds:
            raise ValueError("a row with an error must not have rounds")

    @property
    def throttled(self) -> bool:
        """Whether the device slowed itself down in any round."""
        return any(one.throttled for one in self.rounds)

    def key(self) -> tuple[str, str, str, str, Settings]:
        """What tells the row from all others of its report."""
        return self.device, self.subject, self.stage, self.runtime, self.settings


@dataclass(frozen=True, config=CONFIG)
class Report(Result):
    """All results of one run of a benchmark.

    Attributes:
      began: when, UTC.
      seconds: how long it took.
      options: what was asked for, as on the command line.
      devices: what was measured.
      subjects: what was run on them.
      rows: the results.
      control: what the drift control of the rounds is; None if there is none.
      format: `FORMAT`.
      version: `VERSION`, which grows when old readers would misunderstand.
    """

    kind: ClassVar[str] = "a benchmark result"

    began: Instant
    seconds: Annotated[float, Field(ge=0.0)]
    options: dict[str, Any]
    devices: tuple[Device, ...]
    subjects: tuple[Subject, ...]
    rows: tuple[Row, ...]
    control: Text | None = None
    format: Literal["mm-face-stylizer-benchmark"] = FORMAT
    version: Literal[1] = VERSION

    def __post_init__(self) -> None:
        """Checks that names are unique and that rows refer to what is there.

        Raises:
          ValueError: they are not, or do not.
        """
        devices = _unique("device", [device.name for device in self.devices])
        subjects = _unique("subject", [subject.name for subject in self.subjects])
        seen = set()
        for row in self.rows:
            if row.device not in devices:
                raise ValueError(f"a row is of the device {row.device!r}, which is not listed")
            if row.subject not in subjects:
                raise ValueError(f"a row is of the subject {row.subject!r}, which is not listed")
            if row.key() in seen:
                raise ValueError(f"two rows are the same case: {row.key()}")
            seen.add(row.key())


def sha256(content: bytes) -> str:
    """Returns a SHA-256 in hexadecimal digits, as the reports have it."""
    return hashlib.sha256(content).hexdigest()


def _unique(what: str, names: Sequence[str]) -> set[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names must be unique; {', '.join(twice)} is there twice")
    return set(names)
