"""Loads and runs models in LiteRT in a child process, which they may crash.

TFLite's kernels trust a model's options and constants; a hostile model can crash them, use up all
memory or never end. A model that has run once in the child process, with all of its constants, is
considered safe to load in the parent.
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

# The limit for loading and running all models of a bundle once, which takes a tenth of a second on
# a desktop. It is CPU time, because a busy machine must not make a good bundle fail.
CPU_SECONDS = 1.5
MEMORY_BYTES = 2**30
# Applies if the child neither uses CPU time nor ends.
_WALL_SECONDS = 60.0

_LENGTH = struct.Struct("<Q")
_READY = b"ready"
# The child gets the parent's module search path, so that it can import task_bundle, too.
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from task_bundle.tflite import probe; probe.child()"
)


def run_models(models: Sequence[bytes], names: Sequence[str]) -> None:
    """Loads each model in LiteRT in a child process and runs it once on noise.

    Args:
      models: TFLite flatbuffers.
      names: how error messages call the models.

    Raises:
      BundleError: LiteRT refuses a model or crashes, a model needs more than `MEMORY_BYTES`, all
        models together need more than `CPU_SECONDS`, or an output is not finite.
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
    # The child writes one line for each model that did not crash it.
    for name, answer in zip(names, answers, strict=False):
        defect = json.loads(answer)
        if defect:
            raise BundleError(f"{name} is unusable: {defect}")
    if len(answers) < len(models):
        raise BundleError(
            f"{names[len(answers)]} is unusable: {_cause_of_death(process.returncode)}"
        )


def _cause_of_death(status: int) -> str:
    """Describes why the child process ended early."""
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
    """Runs in the child process: reads models from stdin and answers each with a line of JSON."""
    # Imported before the limits apply, and here so that its absence does not look like a bad model.
    import ai_edge_litert.interpreter  # noqa: F401

    stream = sys.stdin.buffer
    # LiteRT writes messages to stdout, which are redirected to stderr.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    models = []
    while header := stream.read(_LENGTH.size):
        models.append(stream.read(*_LENGTH.unpack(header)))
    answers.write(_READY + b"\n")
    limit()
    for model in models:
        try:
            defect = find_defect(model)
        except Exception as error:  # LiteRT raises errors of several types.
            # The errors for too little memory are of several types, and none has a message.
            reason = " ".join(str(error).split())[:300]
            too_big = f"it needs more than {MEMORY_BYTES // 2**20} MiB"
            defect = f"LiteRT says: {reason}" if reason else too_big
        answers.write(json.dumps(defect).encode() + b"\n")


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


def limit() -> None:
    """Limits the memory and CPU time of this process, as far as the system supports it."""
    with contextlib.suppress(
        ImportError, OSError, ValueError
    ):  # Not on Windows, and only in part on macOS.
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if hasattr(signal, "setitimer"):
        # The timer's signal kills the process. RLIMIT_CPU only has whole seconds.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
