"""Messages between the benchmark and its worker processes, and their JSON form.

A request names work items, and the worker answers each with one line of JSON: an object of the
request's `answer_type`, or a `Failure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import Field, TypeAdapter

from benchmarks.case import Case
from benchmarks.report import Coverage, Memory, OperatorTime, Parity

# What a worker prints before its answers. It ends whatever was printed while Python started, as by
# a sitecustomize.
READY = "\x1eanswers-follow\x1e"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Reference:
    """A stored result with which a case's result is compared.

    Attributes:
      against: What it is, as `benchmarks.parity.difference` names it.
      path: `.npy` file with the result.
    """

    against: str
    path: str


@dataclass(frozen=True)
class WorkItem:
    """A case, and the files that a worker needs for it.

    Attributes:
      case: The case.
      file: The bundle or model.
      input: `.npy` file: the photo, [height, width, 3] uint8 RGB. Once a case of a single model is
        prepared, the model's input, float32.
      references: Results with which to compare, empty before the case is prepared.
    """

    case: Case
    file: str
    input: str
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Answer to an item that cannot be done.

    Attributes:
      error: The reason, in one line.
    """

    error: str


@dataclass(frozen=True)
class Prepared:
    """Files that a case needs to be measured.

    Attributes:
      input: `.npy` file with the input of the runner.
      reference: `.npy` file with the result of TFLite's own kernels.
    """

    input: str
    reference: str


@dataclass(frozen=True)
class Timing:
    """One round of a case.

    Attributes:
      creation_ms: Time to load the case, in milliseconds; so are the following.
      first_call_ms: Time of the first call.
      samples_ms: Times of the counted calls; empty if the result was wrong.
      control_ms: Times of the drift control, before and after.
      parity: Comparisons of the result with each reference.
    """

    creation_ms: float
    first_call_ms: float
    samples_ms: tuple[float, ...]
    control_ms: tuple[float, ...]
    parity: tuple[Parity, ...]


@dataclass(frozen=True)
class ModelDetails:
    """What the delegate and the operators of a model do.

    Attributes:
      coverage: Operators that XNNPACK runs.
      profile: Times of the operators, slowest first; empty if they were not measured.
    """

    coverage: Coverage
    profile: tuple[OperatorTime, ...] = ()


@dataclass(frozen=True)
class Request(Generic[Answer]):
    """Base of the requests.

    Attributes:
      items: What to do, in this order.
    """

    answer_type: ClassVar[type[Any]]

    items: tuple[WorkItem, ...]


@dataclass(frozen=True)
class PrepareRequest(Request[Prepared]):
    """Asks for the inputs of single models, and for reference results.

    Attributes:
      folder: Where to write them.
    """

    answer_type: ClassVar[type[Any]] = Prepared

    folder: str
    kind: Literal["prepare"] = "prepare"


@dataclass(frozen=True)
class TimeRequest(Request[Timing]):
    """Asks for one round of timed calls.

    Attributes:
      round: Number of the round, from 0 on.
      calls: Counted calls of each case.
      warm_up: Calls of each case after the first that are not counted.
      slow_down: Factor by which each call is made to take longer.
    """

    answer_type: ClassVar[type[Any]] = Timing

    round: int
    calls: int
    warm_up: int
    slow_down: float
    kind: Literal["time"] = "time"


@dataclass(frozen=True)
class MemoryRequest(Request[Memory]):
    """Asks for the memory of one case, for which the process must be a fresh one.

    Attributes:
      calls: How often to call it.
    """

    answer_type: ClassVar[type[Any]] = Memory

    calls: int
    kind: Literal["memory"] = "memory"


@dataclass(frozen=True)
class ModelRequest(Request[ModelDetails]):
    """Asks for details of single models.

    Attributes:
      profile: Whether to time the operators of models on one thread.
    """

    answer_type: ClassVar[type[Any]] = ModelDetails

    profile: bool
    kind: Literal["model"] = "model"


_REQUESTS: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        PrepareRequest | TimeRequest | MemoryRequest | ModelRequest, Field(discriminator="kind")
    ]
)


def encode_request(request: Request[Any]) -> bytes:
    """Returns a request as JSON."""
    return _REQUESTS.dump_json(request)


def decode_request(text: bytes) -> Request[Any]:
    """Reads what `encode_request` returned."""
    request: Request[Any] = _REQUESTS.validate_json(text)
    return request


def encode_answer(answer: Any) -> str:
    """Returns an answer as one line of JSON, without the line feed."""
    return TypeAdapter(type(answer)).dump_json(answer).decode()


def decode_answer(request: Request[Answer], line: str) -> Answer | Failure:
    """Reads an answer to a request, as `encode_answer` returned it."""
    either: Any = request.answer_type | Failure
    answer: Answer | Failure = TypeAdapter(either).validate_json(line)
    return answer
