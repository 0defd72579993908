"""Loads and runs models in LiteRT in a process of its own, which may die of them.

TFLite's kernels trust a model's options and constants; a hostile model can crash them, take all
memory or never end. What survives here once, with all that is constant in it, is fit to be loaded
by the caller.
"""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from task_bundle.errors import BundleError

# CPU time for loading and running all models of a bundle once, which takes a tenth of a second on a
# desktop. CPU time, because a busy machine must not make a good bundle a bad one.
CPU_SECONDS = 1.5
MEMORY_BYTES = 2**30
# If the child neither works nor ends.
_WALL_SECONDS = 60.0

_LENGTH = struct.Struct("<Q")
_READY = b"ready"
# The parent's own search path: whatever made task_bundle importable there works here.
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from task_bundle.tflite import probe; probe.child()"
)


def run_models(models: Sequence[bytes], names: Sequence[str]) -> None:
    """Loads each model in LiteRT in another process and runs it once on noise.

    Args:
      models: TFLite flatbuffers.
      names: what to call them in messages.

    Raises:
      BundleError: LiteRT refuses a model, crashes, needs more than `MEMORY_BYTES` or, for all
        models together, `CPU_SECONDS`; or a model's output is not finite.
      OSError: the process cannot be started.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            content = b"".join(_LENGTH.pack(len(model)) + model for model in models)
            output, _ = process.communicate(content, _WALL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    ready, *answers = output.splitlines() or [b""]
    if ready != _READY:
        raise OSError(
            f"cannot check models in another process: {sys.executable} ended with status"
            f" {process.returncode}"
        )
    # One line for each model that was survived.
    for name, answer in zip(names, answers, strict=False):
        complaint = json.loads(answer)
        if complaint:
            raise BundleError(f"{name} is unusable: {complaint}")
    if len(answers) < len(models):
        raise BundleError(f"{names[len(answers)]} is unusable: {_death(process.returncode)}")


def _death(status: int) -> str:
    """Says what a process died of."""
    try:
        killer = signal.Signals(-status)
    except ValueError:
        return f"loading or running it ends the process with status {status}"
    if killer.name == "SIGPROF":
        return f"loading it and running it once takes more than {CPU_SECONDS:g} s"
    if killer.name == "SIGKILL":
        return "loading it and running it once does not end, or takes too much memory"
    return f"loading or running it crashes LiteRT ({killer.name})"


def child() -> None:
    """The other process: reads models from stdin, answers each with a line of JSON."""
    # Before the limits, and so that a missing package is not taken for a bad model.
    import ai_edge_litert.interpreter  # noqa: F401

    stream = sys.stdin.buffer
    # LiteRT writes to the process's stdout as it likes.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    models = []
    while header := stream.read(_LENGTH.size):
        models.append(stream.read(*_LENGTH.unpack(header)))
    answers.write(_READY + b"\n")
    limit()
    for model in models:
        try:
            complaint = complaint_about(model)
        except Exception as error:  # Whatever LiteRT finds wrong.
            # Running out of memory has many faces, and none of them a text.
            reason = " ".join(str(error).split())[:300]
            too_big = f"it needs more than {MEMORY_BYTES // 2**20} MiB"
            complaint = f"LiteRT says: {reason}" if reason else too_big
        answers.write(json.dumps(complaint).encode() + b"\n")


def complaint_about(model: bytes) -> str:
    """Loads a model and runs it once; returns what is wrong with it, or nothing."""
    from ai_edge_litert.interpreter import Interpreter

    complaint = _wrong_shape(model)
    if complaint:
        return complaint
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        # Every value of [0, 1) and no order, without a generator, whose import takes longer.
        noise = np.modf(np.arange(np.prod(shape, dtype=np.int64)) * 0.6180339887498949)[0]
        interpreter.set_tensor(detail["index"], noise.reshape(shape).astype(dtype))
    interpreter.invoke()
    for detail in interpreter.get_output_details():
        value = interpreter.get_tensor(detail["index"])
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"its output {detail['name']!r} is not finite for an ordinary input"
    return ""


def _wrong_shape(model: bytes) -> str:
    """Compares the shapes that the file says with those that its operators give.

    TFLite's own kernels go by the latter, XNNPACK in part by the former, and then reads and writes
    where nothing is.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=plain
    )
    announced = {d["index"]: d["shape"].tolist() for d in interpreter.get_tensor_details()}
    interpreter.allocate_tensors()
    for detail in interpreter.get_tensor_details():
        shape = detail["shape"].tolist()
        # Kernels add tensors of their own; what only a run can tell has no shape yet.
        said = announced.get(detail["index"], shape)
        if shape and said != shape:
            return f"its tensor {detail['name'][:80]!r} has the shape {shape}, not {said}"
    return ""


def limit() -> None:
    """Limits this process's memory and CPU time, as far as the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; macOS in part.
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if hasattr(signal, "setitimer"):
        # Its signal kills; RLIMIT_CPU counts whole seconds only.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
