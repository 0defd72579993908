"""Loads and runs models in LiteRT in a child process, which they may crash.

TFLite's kernels trust a model's options and constants; a hostile model can crash them, use up all
memory or never end. A model that has run once in the child process, with all of its constants, is
considered safe to load in the parent. Where there is no Python interpreter to start, as in a frozen
app, models are loaded and run in this process, without these safeguards.
"""

import contextlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import warnings
from collections.abc import Sequence

import numpy as np

from task_bundle.errors import BundleError, InvalidArgumentError
from task_bundle.interpreter import INTERPRETER_VARIABLE, find_interpreter

# The limit for loading and running all models of a bundle once, which takes a tenth of a second on
# a desktop. It is CPU time, because a busy machine must not make a good bundle fail.
CPU_SECONDS = 1.5
# Seconds in place of that limit, for all commands and calls that state no other.
SECONDS_VARIABLE = "MM_FACE_STYLIZER_CHECK_SECONDS"
MEMORY_BYTES = 2**30
# Applies if the child neither uses CPU time nor ends, or if another limit is longer than usual.
_WALL_SECONDS = 60.0
_WALL_PER_CPU_SECOND = 4.0

_LENGTH = struct.Struct("<Q")
_LIMIT = struct.Struct("<d")
# Ends whatever was printed while Python started, as by a sitecustomize.
_READY = b"\x1emodels-follow\n"
# Set in child processes. A program that finds it when it checks models was itself started in place
# of an interpreter, and must not start another one.
_CHILD_VARIABLE = "MM_FACE_STYLIZER_MODEL_CHECK"
# The child gets the parent's module search path, so that it can import task_bundle, too.
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from task_bundle.tflite import probe; probe.child()"
)


def run_models(
    models: Sequence[bytes], names: Sequence[str], cpu_seconds: float | None = None
) -> None:
    """Loads each model in LiteRT in a child process and runs it once on noise.

    Args:
      models: TFLite flatbuffers.
      names: how error messages call the models.
      cpu_seconds: the CPU time that all models together may take; if None,
        $MM_FACE_STYLIZER_CHECK_SECONDS, or 1.5 s.

    Raises:
      InvalidArgumentError: $MM_FACE_STYLIZER_CHECK_SECONDS is not a number above 0.
      BundleError: LiteRT refuses a model or crashes, a model needs more than `MEMORY_BYTES`, all
        models together need more than `cpu_seconds`, or an output is not finite.
      OSError: the process cannot be started.
    """
    if cpu_seconds is None:
        cpu_seconds = _usual_seconds()
    interpreter = find_interpreter()
    if interpreter is None:
        _run_here(models, names)
        return
    if _CHILD_VARIABLE in os.environ:
        raise OSError(
            "cannot check models in another process: this program was started as if it were a"
            f" Python interpreter; ${INTERPRETER_VARIABLE} can name one"
        )
    environment = {
        **os.environ,
        _CHILD_VARIABLE: "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    search_path = [os.fspath(entry) for entry in sys.path]
    try:
        process = subprocess.Popen(
            [interpreter, "-c", _CHILD, *search_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot check models in another process: {interpreter}: {error.strerror};"
            f" ${INTERPRETER_VARIABLE} can name another Python interpreter",
        ) from error
    with process:
        try:
            content = b"".join(_LENGTH.pack(len(model)) + model for model in models)
            limit = max(_WALL_SECONDS, _WALL_PER_CPU_SECOND * cpu_seconds)
            output, _ = process.communicate(_LIMIT.pack(cpu_seconds) + content, limit)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    _, ready, text = output.partition(_READY)
    if not ready:
        raise OSError(
            f"cannot check models in another process: {interpreter} ended with status"
            f" {process.returncode}; ${INTERPRETER_VARIABLE} can name another Python interpreter"
        )
    answers = text.splitlines()
    # The child writes one line for each model that did not crash it.
    for name, answer in zip(names, answers, strict=False):
        _raise_defect(name, json.loads(answer))
    if len(answers) < len(models):
        cause = _cause_of_death(process.returncode, cpu_seconds)
        raise BundleError(f"{names[len(answers)]} is unusable: {cause}")


def _usual_seconds() -> float:
    given = os.environ.get(SECONDS_VARIABLE)
    if not given:
        return CPU_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise InvalidArgumentError(f"${SECONDS_VARIABLE} is {given!r}, not a number above 0")
    return seconds


def _run_here(models: Sequence[bytes], names: Sequence[str]) -> None:
    warnings.warn(
        "models are checked in this process, which a hostile one can crash, because there is no"
        f" Python interpreter to start; ${INTERPRETER_VARIABLE} can name one",
        RuntimeWarning,
        stacklevel=2,
    )
    for name, model in zip(names, models, strict=True):
        _raise_defect(name, _defect(model))


def _raise_defect(name: str, defect: str) -> None:
    if defect:
        raise BundleError(f"{name} is unusable: {defect}")


def _cause_of_death(status: int, cpu_seconds: float) -> str:
    """Describes why the child process ended early."""
    try:
        killer = signal.Signals(-status)
    except ValueError:
        return f"loading or running it ends the process with status {status}"
    if killer.name == "SIGPROF":
        return (
            f"loading it and running it once takes more than {cpu_seconds:g} s; a heavy"
            " model that you trust gets more time from task-bundle validate (or build) with"
            f" --check-seconds {_more(cpu_seconds)}, or everywhere from"
            f" ${SECONDS_VARIABLE}={_more(cpu_seconds)}"
        )
    if killer.name == "SIGKILL":
        return "loading it and running it once does not end, or takes too much memory"
    return f"loading or running it crashes LiteRT ({killer.name})"


def _more(cpu_seconds: float) -> int:
    """Returns a limit to suggest in place of one that was too short."""
    return math.ceil(20 * cpu_seconds)


def child() -> None:
    """Runs in the child process: reads models from stdin and answers each with a line of JSON."""
    # Imported before the limits apply, and here so that its absence does not look like a bad model.
    import ai_edge_litert.interpreter  # noqa: F401

    stream = sys.stdin.buffer
    # LiteRT writes messages to stdout, which are redirected to stderr.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    (cpu_seconds,) = _LIMIT.unpack(stream.read(_LIMIT.size))
    models = []
    while header := stream.read(_LENGTH.size):
        models.append(stream.read(*_LENGTH.unpack(header)))
    answers.write(_READY)
    limit(cpu_seconds)
    for model in models:
        answers.write(json.dumps(_defect(model)).encode() + b"\n")


def _defect(model: bytes) -> str:
    try:
        return find_defect(model)
    except Exception as error:  # LiteRT raises errors of several types.
        # The errors for too little memory are of several types, and none has a message.
        reason = " ".join(str(error).split())[:300]
        too_big = f"it needs more than {MEMORY_BYTES // 2**20} MiB"
        return f"LiteRT says: {reason}" if reason else too_big


def find_defect(model: bytes) -> str:
    """Loads a model and runs it once; returns what is wrong with it, or an empty string."""
    from ai_edge_litert.interpreter import Interpreter

    defect = _wrong_shape(model)
    if defect:
        return defect
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        # Deterministic noise, uniform in [0, 1). NumPy's generators would be slow to import.
        noise = np.modf(np.arange(np.prod(shape, dtype=np.int64)) * 0.6180339887498949)[0]
        interpreter.set_tensor(detail["index"], noise.reshape(shape).astype(dtype))
    interpreter.invoke()
    for detail in interpreter.get_output_details():
        value = interpreter.get_tensor(detail["index"])
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return f"its output {detail['name']!r} is not finite for an ordinary input"
    return ""


def _wrong_shape(model: bytes) -> str:
    """Compares the shapes in the file with those that the operators compute.

    TFLite's own kernels use the computed shapes, but XNNPACK uses some of the shapes in the file,
    and reads and writes out of bounds if they differ. Returns a description of the first
    difference, or an empty string.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=plain
    )
    declared = {d["index"]: d["shape"].tolist() for d in interpreter.get_tensor_details()}
    interpreter.allocate_tensors()
    for detail in interpreter.get_tensor_details():
        shape = detail["shape"].tolist()
        # Kernels add temporary tensors, and shapes that depend on a run are not known yet.
        expected = declared.get(detail["index"], shape)
        if shape and expected != shape:
            return f"its tensor {detail['name'][:80]!r} has the shape {shape}, not {expected}"
    return ""


def limit(cpu_seconds: float = CPU_SECONDS) -> None:
    """Limits the memory and CPU time of this process, as far as the system supports it.

    Args:
      cpu_seconds: the CPU time, of all threads together.
    """
    with contextlib.suppress(
        ImportError, OSError, ValueError
    ):  # Not on Windows, and only in part on macOS.
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if hasattr(signal, "setitimer"):
        # The timer's signal kills the process. RLIMIT_CPU only has whole seconds.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
