"""The format of benchmark results, which computers and phones share.

A report has the devices, the measured files, the settings and every measured time. The docstrings
of the classes are the descriptions in the JSON schema that `Report.json_schema` returns.
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
# The measured part of a task: 'end_to_end', 'stylizer', 'detector', 'landmarks', 'crop' or another.
Stage = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


@dataclass(frozen=True, config=CONFIG)
class Conditions:
    """State of a device at one moment. A value that the device does not report is None.

    Attributes:
      load: load average of the last minute: the mean number of processes that were running or
        waiting for a core.
      celsius: temperature in degrees Celsius: a computer's processor, a phone's battery.
      thermal_status: Android's thermal status, from 0 (none) to 6 (shutdown); from 1 (light) on
        the phone throttles.
      battery_percent: charge of the battery in percent.
      charging: whether the battery is being charged.
      screen_on: whether the screen is on.
    """

    load: Annotated[float, Field(ge=0.0)] | None = None
    celsius: float | None = None
    thermal_status: Annotated[int, Field(ge=0, le=6)] | None = None
    battery_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    charging: bool | None = None
    screen_on: bool | None = None


@dataclass(frozen=True, config=CONFIG)
class Device:
    """A computer or phone on which rows were measured.

    Attributes:
      name: the device's name in rows and tables, unique in a report.
      kind: 'host' for the computer that runs the benchmark, 'phone' for a phone.
      processor: model of a host's CPU or of a phone's SoC.
      architecture: instruction set of a host, ABI of a phone, such as 'x86_64' or 'arm64-v8a'.
      cores: number of processor cores.
      system: operating system and its version, such as 'Linux 6.1' or 'Android 14 (API 34)'.
      cpu_flags: instruction set extensions of the processor, such as 'avx2'.
      governor: frequency governor of the first core, such as 'performance'.
      memory_bytes: size of the main memory in bytes.
      versions: version of each program and package that took part, by name.
      serial_sha256: SHA-256 of a phone's serial number. The number itself is private and is not
        stored.
      before: the device's state before the first row.
      after: the device's state after the last row.
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
    """One TFLite model of a measured file.

    Attributes:
      stage: the part of the task that the model computes.
      sha256: SHA-256 of the flatbuffer.
      size_bytes: size of the flatbuffer in bytes.
      input_shape: shape of the model's first input.
      output_shape: shape of the model's first output.
      weights: type of most weights, such as 'float32', 'float16' or 'int8'.
      parameters: number of weights.
      macs: number of multiply-accumulates of one inference.
      operators: number of operators of each kind, by the kind's name.
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
      name: the file's name in rows and tables, unique in a report.
      file: name of the file without its folder.
      sha256: SHA-256 of the file.
      size_bytes: size of the file in bytes.
      models: the TFLite models in the file.
    """

    name: Text
    file: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    sha256: Sha256
    size_bytes: Bytes
    models: tuple[Model, ...]


@dataclass(frozen=True, config=CONFIG)
class Settings:
    """Settings of a row. None where a setting does not apply, or where the runtime chooses it.

    Attributes:
      threads: number of threads that the runtime was told to use.
      cores: the cores that the process was restricted to, such as '0' or '4-7'.
      delegate: 'xnnpack', 'gpu' or 'nnapi'; 'none' for TFLite's own kernels.
      gpu_precision: 'float32', or 'float16' where the GPU delegate was allowed to compute in half
        precision.
      batch: number of pictures in one call.
      faces: number of faces in the photo.
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
    """Statistics of the times of calls, in milliseconds, from a tool that does not list the times.

    Attributes:
      count: number of calls.
      mean: mean time of a call.
      minimum: time of the fastest call.
      maximum: time of the slowest call.
      standard_deviation: standard deviation of the times.
      p50: median time of a call.
    """

    count: Annotated[int, Field(ge=1)]
    mean: Milliseconds
    minimum: Milliseconds | None = None
    maximum: Milliseconds | None = None
    standard_deviation: Milliseconds | None = None
    p50: Milliseconds | None = None


@dataclass(frozen=True, config=CONFIG)
class Round:
    """Timed calls made one after the other, usually in a process of their own.

    Attributes:
      samples_ms: time of each call; empty where the tool reports an aggregate only.
      aggregate: the tool's own statistics; None where there are samples.
      control_ms: times of the drift control just before and after the calls. The drift control is
        a small model that is the same in every round.
      creation_ms: time from the model's bytes to an object that can be called.
      first_call_ms: time of the first call. The warm-up calls after it are not stored.
      before: the device's state before the round.
      after: the device's state after the round.
      throttled: whether the device reduced its speed during the round, to cool down.
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
    """Memory of a process that runs a single row and times nothing.

    Attributes:
      baseline_bytes: resident memory before anything of the row was loaded.
      steady_bytes: resident memory after the calls.
      peak_bytes: the largest resident memory at any time.
      calls: number of calls.
    """

    baseline_bytes: Bytes
    steady_bytes: Bytes
    peak_bytes: Bytes
    calls: Count


@dataclass(frozen=True, config=CONFIG)
class Parity:
    """Difference between the result of a row and a reference result.

    Attributes:
      against: name of the reference, such as 'float32' or 'reference picture'.
      unit: unit of the differences: 'grey levels' (0 to 255) for pictures, 'pixels' for landmarks,
        'relative' for other outputs.
      mean: mean absolute difference.
      maximum: largest absolute difference.
      limit: largest mean difference that passes.
      passed: whether the mean difference is within the limit.
    """

    against: Text
    unit: Literal["grey levels", "pixels", "relative"]
    mean: Annotated[float, Field(ge=0.0)]
    maximum: Annotated[float, Field(ge=0.0)]
    limit: Annotated[float, Field(ge=0.0)]
    passed: bool


@dataclass(frozen=True, config=CONFIG)
class Coverage:
    """How many operators of a model its delegate runs.

    Attributes:
      delegated: number of operators that the delegate runs.
      operators: number of operators of the model.
      partitions: number of connected groups that the delegated operators form. Each costs a
        handover of tensors between the delegate and TFLite.
    """

    delegated: Count
    operators: Count
    partitions: Count


@dataclass(frozen=True, config=CONFIG)
class OperatorTime:
    """Time that one operator takes in an inference.

    Attributes:
      operator: the operator's kind, as the tool names it.
      name: what tells the operator from others of its kind, such as its output tensor.
      mean_ms: mean time of one call, or the median where each call was timed.
      calls: number of times that the operator runs in one inference.
    """

    operator: Text
    name: str
    mean_ms: Milliseconds
    calls: Count = 1


@dataclass(frozen=True, config=CONFIG)
class Row:
    """Results of one case: a stage of a subject, run with one choice of settings on one device.

    Attributes:
      device: the name of a `Device` of the report.
      subject: the name of a `Subject` of the report.
      stage: the part of the task that was timed.
      runtime: the program that ran it: 'mediapipe' (Google's FaceStylizer for Python), 'portable'
        (task_bundle's FaceStylizer), 'litert', 'benchmark_model', 'tasks-vision' and so on.
      settings: the settings of the run.
      rounds: the timed calls.
      parity: comparisons of the result with references; empty where the tool returns no result.
      memory: memory of a separate, untimed run.
      coverage: how much of the model the delegate runs.
      profile: times of single operators, slowest first.
      error: why there are no times; None if there are times.
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
        """Checks that a row has times if it succeeded, and an error if it did not.

        Raises:
          ValueError: a failed row or a wrong result has times, or a row has neither times nor an
            error.
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
        """Whether the device throttled in any round."""
        return any(one.throttled for one in self.rounds)

    def key(self) -> tuple[str, str, str, str, Settings]:
        """The values that identify the row: no other row of a report has the same."""
        return self.device, self.subject, self.stage, self.runtime, self.settings


@dataclass(frozen=True, config=CONFIG)
class Report(Result):
    """All results of one benchmark run.

    Attributes:
      began: when the run began, in UTC.
      seconds: duration of the run in seconds.
      options: the options of the run, as on the command line.
      devices: the devices that were measured.
      subjects: the files that were measured.
      rows: the results, one row a case.
      control: description of the drift control's model; None if there is no drift control.
      format: name of the format, `FORMAT`.
      version: version of the format, `VERSION`. It is increased when older readers would
        misunderstand the file.
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
        """Checks that names and cases are unique and that rows name listed devices and subjects.

        Raises:
          ValueError: a name or a case occurs twice, or a row names an unlisted device or subject.
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
    """Returns the SHA-256 of bytes in hexadecimal digits, as reports store it."""
    return hashlib.sha256(content).hexdigest()


def _unique(what: str, names: Sequence[str]) -> set[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} names must be unique; {', '.join(twice)} is there twice")
    return set(names)
