"""Do damaged or hostile bundles and pictures crash `task_bundle`, or make it slow?

    python -m benchmarks.studies.fuzz_bundles BUNDLE.task ... [--picture X.jpg ...] [--cases 20000]

Each case is made from one of the given files and depends only on its number and the seed. Either
random bytes of the zip archive or of a model's flatbuffer are changed, or the parsed model is
changed (shapes, indices, types, options, constants) and written as a valid flatbuffer again. A
worker process opens and inspects the case and, if it was not refused, loads its models in LiteRT:
first in a child process, as `TaskBundle.validate` does, then in the worker itself.

With --runtime, the worker instead opens each bundle with `task_bundle.FaceStylizer` and stylizes a
photo, as an app does, with MediaPipe's own graph where it is available.

A finding is a crash of the worker, more than 2 s of CPU time or 1 GiB of memory, or an undocumented
exception. Crashes of the child alone are counted but are no findings, because the child exists to
contain them. Prints JSON, and exits with status 1 if there are findings.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import io
import json
import multiprocessing
import os
import pathlib
import resource
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.studies.fuzz_pictures import make_pictures
from task_bundle.archive import TaskArchive, models_of, write_archive
from task_bundle.bundle import TaskBundle
from task_bundle.cache import CACHE_VARIABLE
from task_bundle.errors import BundleError, ImageError
from task_bundle.faces.face_models import FaceModels, adapt_landmarks
from task_bundle.inspection import inspect_archive
from task_bundle.media.images import load_image
from task_bundle.runtime.stylizer import FaceStylizer
from task_bundle.tflite import probe, schema

CPU_SECONDS = 2.0
MEMORY_BYTES = 2**30
# Time limit after which a worker that does not answer is killed.
_WALL_SECONDS = 60.0
_INTERESTING = (0, 1, 2, 3, 4, 7, 8, 16, 127, 255, 256, 0x7FFF, 0xFFFF, 2**20, 2**28, 2**31 - 1)

Random = np.random.Generator


def try_bundle(content: bytes) -> str:
    """Opens, inspects and loads a bundle, in the order in which the commands do.

    Args:
      content: Content of a `.task` file.

    Returns:
      The outcome; a documented refusal is one as well.
    """
    try:
        archive = TaskArchive.open(content)
    except BundleError:
        return "archive refused"
    try:
        inspect_archive(archive)
        bundle = TaskBundle.from_archive(archive)
    except BundleError:
        return "models refused"
    with contextlib.suppress(BundleError):
        models = FaceModels(bundle.detector, adapt_landmarks(bundle.landmarks), "fuzz")
        TaskBundle.build(bundle.stylizer, models)
    for model in models_of(archive).values():
        status = _load_in_child(model)
        if status == 1:
            return "refused by LiteRT"
        if status:
            return f"died in the child, status {status}"
        # A model that the child survived must not crash the worker itself.
        probe.find_defect(model)
    return "loaded"


def try_runtime(photo: bytes, content: bytes) -> str:
    """Opens a bundle as an app does, and stylizes a photo.

    Args:
      photo: Content of a picture file with a face.
      content: Content of a `.task` file.

    Returns:
      The outcome; a documented refusal is one as well.
    """
    try:
        with FaceStylizer.create_from_model_buffer(content) as stylizer:
            face = stylizer.stylize(_read_photo(photo))
    except BundleError:
        return "refused"
    except (RuntimeError, ValueError) as error:
        # MediaPipe raises these for a graph that fails while it runs.
        return f"failed with {type(error).__name__}"
    return "no face" if face is None else "stylized"


@functools.cache
def _read_photo(photo: bytes) -> Any:
    with tempfile.NamedTemporaryFile() as file:
        file.write(photo)
        file.flush()
        return load_image(file.name)


def fuzz(
    bundles: Sequence[bytes],
    pictures: Sequence[bytes],
    cases: Iterable[int],
    seed: int = 0,
    on_case: Callable[[int], None] | None = None,
    attempt: Callable[[bytes], object] = try_bundle,
    lean: bool = True,
) -> dict[str, Any]:
    """Runs cases in worker processes.

    Args:
      bundles: Contents of `.task` files to damage.
      pictures: Contents of picture files to damage; may be empty.
      cases: Numbers of the cases; a case is the same in every run with the same files and seed.
      seed: Seed that, with its number, determines a case.
      on_case: Is called after each case with its number.
      attempt: Function that the worker calls with each damaged bundle; must be picklable.
      lean: Whether bundles mostly have a small model in place of each undamaged one, which saves
        most of the time.

    Returns:
      'outcomes', counts by kind; 'findings', which should be empty, with number, mutation and
      problem; 'slowest_cpu_s'; 'largest_mib', the memory of the largest worker.
    """
    outcomes: collections.Counter[str] = collections.Counter()
    findings: list[dict[str, Any]] = []
    slowest, largest = 0.0, 0
    worker = None
    # Ctrl-C ends a long run with a report on the cases so far.
    with contextlib.suppress(KeyboardInterrupt):
        for case in cases:
            worker = worker or _Worker(bundles, pictures, seed, attempt, lean)
            answer = worker.run(case)
            outcomes[answer["outcome"]] += 1
            slowest = max(slowest, answer.get("cpu_s", 0.0))
            largest = max(largest, answer.get("mib", 0))
            if answer.get("problem"):
                findings.append({"case": case, **answer})
            if answer["outcome"] == "died":
                worker = None
            if on_case is not None:
                on_case(case)
    if worker is not None:
        worker.close()
    return {
        "outcomes": dict(outcomes.most_common()),
        "findings": findings,
        "slowest_cpu_s": round(slowest, 2),
        "largest_mib": largest,
    }


class _Worker:
    """A process that runs case after case, until one of them crashes it."""

    def __init__(self, *arguments: Any):
        # The worker is spawned and not forked, because it forks itself and so must have no threads.
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *arguments))
        self._process.start()
        other.close()

    def run(self, case: int) -> dict[str, Any]:
        self._connection.send(case)
        try:
            if self._connection.poll(_WALL_SECONDS):
                answer: dict[str, Any] = self._connection.recv()
                return answer
            problem = f"no answer for {_WALL_SECONDS:g} s"
        except EOFError:
            self._process.join()
            problem = f"the worker died with status {self._process.exitcode}"
        self._process.kill()
        self._process.join()
        return {"outcome": "died", "problem": problem}

    def close(self) -> None:
        # After Ctrl-C the worker may have ended already.
        with contextlib.suppress(BrokenPipeError):
            self._connection.send(None)
        self._process.join()


def _serve(
    connection: Connection,
    bundles: Sequence[bytes],
    pictures: Sequence[bytes],
    seed: int,
    attempt: Callable[[bytes], object],
    lean: bool,
) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # LiteRT and MediaPipe log every refusal.
    sources = [TaskArchive.open(bundle).contents() for bundle in bundles]
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder)
        os.environ[CACHE_VARIABLE] = folder
        while (case := connection.recv()) is not None:
            random = np.random.default_rng([seed, case])
            began = time.process_time()
            before = _peak_kib()
            try:
                if pictures and random.random() < 0.1:
                    kind, content = "picture", _damage(random, pictures[_pick(random, pictures)])
                    began = time.process_time()
                    answer = {"outcome": _try_picture(content, target)}
                else:
                    kind, content = _mutate(random, sources, lean)
                    began = time.process_time()
                    answer = {"outcome": attempt(content)}
            except Exception:
                answer = {"outcome": "wrong exception", "problem": traceback.format_exc(limit=-4)}
            answer["cpu_s"] = time.process_time() - began
            after = _peak_kib()
            answer["mib"] = after // 1024
            answer["mutation"] = kind
            if answer["cpu_s"] > CPU_SECONDS:
                answer["problem"] = f"took {answer['cpu_s']:.1f} s"
            if after > before and after * 1024 > MEMORY_BYTES:
                answer["problem"] = f"took {after // 1024} MiB"
            connection.send(answer)


def _peak_kib() -> int:
    """Returns the peak memory of this process in KiB."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        # The maximum of getrusage would start with the memory of the parent process.
        return int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _try_picture(content: bytes, folder: pathlib.Path) -> str:
    file = folder / "picture"
    file.write_bytes(content)
    try:
        load_image(file)
    except ImageError:
        return "picture refused"
    return "picture read"


def _load_in_child(model: bytes) -> int:
    """Loads a model as the probe does; returns the child's status: 0 loaded, 1 refused."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            probe.limit()
            status = int(bool(probe.find_defect(model)))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _pick(random: Random, items: Sequence[Any]) -> int:
    return int(random.integers(len(items)))


def _mutate(random: Random, sources: Sequence[dict[str, bytes]], lean: bool) -> tuple[str, bytes]:
    """Returns a description of a mutation, and the damaged bundle."""
    entries = dict(sources[_pick(random, sources)])
    chance = random.random()
    if chance < 0.1:
        return "zip bytes", _damage_zip(random, write_archive(entries))
    if chance < 0.2:
        return "zip made by hand", _hostile_zip(random, entries)
    # Small models are preferred: they have the same parts as large ones, and take less time.
    names = sorted((n for n in entries if n.endswith(".tflite")), key=lambda n: len(entries[n]))
    name = names[min(_pick(random, names), _pick(random, names))]
    if random.random() < 0.8 and lean:
        # Inspecting the large undamaged models each time would cost more than all the rest.
        entries = {n: entries[n if n == name else names[0]] for n in entries}
    if chance < 0.55:
        entries[name] = _damage(random, entries[name], words=True)
        return f"bytes of {name}", write_archive(entries)
    if chance < 0.6:
        entries[name] = _damage_metadata(random, entries[name])
        return f"metadata of {name}", write_archive(entries)
    entries[name] = _change(random, entries[name])
    return f"parts of {name}", write_archive(entries)


def _number(random: Random) -> int:
    """Returns a random number, often one that is an edge case."""
    chance = random.random()
    if chance < 0.5:
        return int(random.choice(_INTERESTING)) * (1 if random.random() < 0.7 else -1)
    if chance < 0.8:
        return int(random.integers(-8, 64))
    return int(random.integers(-(2**31), 2**31))


def _damage(random: Random, content: bytes, words: bool = False) -> bytes:
    """Changes or cuts off some bytes.

    Args:
      random: Source of randomness.
      content: The bytes to damage.
      words: Whether to prefer words of four bytes that could be offsets, lengths or indices.
    """
    data = bytearray(content)
    aligned = np.frombuffer(content, "<u4", len(content) // 4)
    places = 4 * np.flatnonzero(aligned < min(len(content), 2**20)) if words else np.empty(0)
    for _ in range(1 + int(random.geometric(0.4))):
        chance = random.random()
        place = int(random.integers(max(1, len(data) - 8)))
        if len(places) and random.random() < 0.8:
            place = int(places[_pick(random, places)])
        if chance < 0.3:
            data[place] = int(random.integers(256))
        elif chance < 0.9:
            width = 4 if words else int(random.choice([1, 2, 4]))
            value = _number(random)
            if random.random() < 0.3:
                value += int.from_bytes(data[place : place + width], "little")
            data[place : place + width] = (value % 256**width).to_bytes(width, "little")
        elif chance < 0.95:
            length = int(random.integers(1, 64))
            data[place : place + length] = random.bytes(len(data[place : place + length]))
        else:
            del data[int(random.integers(len(data))) :]
            break
    return bytes(data)


def _damage_zip(random: Random, content: bytes) -> bytes:
    """Damages the structures of the zip format, which are a small part of the bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        heads = [info.header_offset for info in archive.infolist()]
        directory = archive.start_dir
    chance = random.random()
    if chance < 0.15:
        return content[: int(random.integers(len(content)))]
    if chance < 0.25:
        return content + random.bytes(int(random.integers(1, 100)))
    if chance < 0.35:
        return random.bytes(int(random.integers(1, 100))) + content
    if chance < 0.65:
        return content[:directory] + _damage(random, content[directory:])
    head = heads[_pick(random, heads)]
    return content[:head] + _damage(random, content[head : head + 60]) + content[head + 60 :]


def _hostile_zip(random: Random, entries: dict[str, bytes]) -> bytes:
    """Writes a valid zip archive with features that bundles must not have."""
    # All entries have a ZipInfo, because writestr would store the present time for a mere name.
    buffer = io.BytesIO()
    bad_names = (
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "C:x",
        "..",
        "",
        "a\0b",
        "\u00e9",
        "x" * 300,
        "a/",
    )
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            method = zipfile.ZIP_STORED
            if random.random() < 0.3:
                method = int(random.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
                data = data[: int(random.integers(len(data)))]
            info = zipfile.ZipInfo(name)
            if random.random() < 0.1:
                info.external_attr = 0o120777 << 16  # A symbolic link.
            if random.random() < 0.3:
                info.filename = str(random.choice(bad_names))
            archive.writestr(info, data, method)
        chance = random.random()
        if chance < 0.3:
            archive.writestr(zipfile.ZipInfo(next(iter(entries)).upper()), b"twice")
        elif chance < 0.5:
            # Two entries of the directory refer to the same bytes.
            copy = zipfile.ZipInfo("copy.tflite")
            for field in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(copy, field, getattr(archive.filelist[0], field))
            archive.filelist.append(copy)
        elif chance < 0.6:
            archive.writestr(zipfile.ZipInfo("bomb.tflite"), bytes(2**27), zipfile.ZIP_DEFLATED)
        elif chance < 0.7:
            for number in range(100):
                archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    return buffer.getvalue()


def _damage_metadata(random: Random, model: bytes) -> bytes:
    """Damages the metadata of a model, and no other part of it."""
    unpacked = schema.unpack_model(model)
    entry = schema.metadata_entry(unpacked)
    if entry is None:
        return _change(random, model)
    buffer = unpacked.buffers[entry.buffer]
    damaged = _damage(random, schema.buffer_bytes(buffer), words=True)
    buffer.data = np.frombuffer(damaged, np.uint8)
    return schema.pack_model(unpacked)


def _change(random: Random, model: bytes) -> bytes:
    """Changes parts of a parsed model; the flatbuffer stays valid, but its content does not."""
    while True:
        unpacked = schema.unpack_model(model)
        for _ in range(1 + int(random.geometric(0.5))):
            changes = (_change_tensor, _change_operator, _change_constant, _change_graph)
            changes[int(random.choice(4, p=[0.3, 0.4, 0.2, 0.1]))](random, unpacked)
        try:
            return schema.pack_model(unpacked)
        except Exception:  # A number did not fit into its field.
            continue


def _some_graph(random: Random, model: Any) -> Any:
    return model.subgraphs[_pick(random, model.subgraphs)]


def _change_tensor(random: Random, model: Any) -> None:
    graph = _some_graph(random, model)
    tensor = graph.tensors[_pick(random, graph.tensors)]
    chance = random.random()
    shape = [] if tensor.shape is None else list(tensor.shape)
    if chance < 0.3 and shape:
        shape[_pick(random, shape)] = _number(random)
        tensor.shape = np.array(shape, np.int64).astype(np.int32)
    elif chance < 0.4:
        extra = [abs(_number(random)) for _ in range(int(random.integers(1, 8)))]
        tensor.shape = np.array(shape + extra, np.int64).astype(np.int32)
    elif chance < 0.5:
        tensor.shape = random.permutation(np.array(shape[: _pick(random, [0, *shape])], np.int32))
    elif chance < 0.65:
        tensor.type = int(random.integers(20))
    elif chance < 0.8:
        tensor.buffer = int(random.integers(len(model.buffers) + 1))
    elif chance < 0.9:
        tensor.isVariable = not tensor.isVariable
    elif tensor.quantization is not None:
        scale = random.choice([0.0, -1.0, np.nan, np.inf, 1e-30, 0.5])
        tensor.quantization.scale = np.full(int(random.integers(4)), scale, np.float32)
        tensor.quantization.zeroPoint = np.full(int(random.integers(4)), _number(random), np.int64)
        tensor.quantization.quantizedDimension = _number(random)


def _change_operator(random: Random, model: Any) -> None:
    graph = _some_graph(random, model)
    if not graph.operators:
        return
    operator = graph.operators[_pick(random, graph.operators)]
    count = len(graph.tensors)
    chance = random.random()
    if chance < 0.3:
        _change_options(random, operator.builtinOptions)
    elif chance < 0.5:
        field = "inputs" if random.random() < 0.7 else "outputs"
        indices = [int(i) for i in getattr(operator, field)]
        how = random.random()
        if how < 0.6 and indices:
            indices[_pick(random, indices)] = int(random.integers(-1, count + 1))
        elif how < 0.8:
            indices = indices[:-1]
        else:
            indices.append(int(random.integers(count)))
        setattr(operator, field, np.array(indices, np.int32))
    elif chance < 0.65:
        operator.opcodeIndex = int(random.integers(len(model.operatorCodes) + 1))
    elif chance < 0.8:
        code = model.operatorCodes[_pick(random, model.operatorCodes)]
        code.builtinCode = int(random.integers(210))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = int(random.integers(1, 6))
    elif chance < 0.9:
        other = graph.operators[_pick(random, graph.operators)]
        operator.builtinOptions = other.builtinOptions
        operator.builtinOptionsType = other.builtinOptionsType
    else:
        operator.builtinOptions = None
        operator.builtinOptionsType = 0


def _change_options(random: Random, options: Any) -> None:
    fields = [] if options is None else [f for f, v in vars(options).items() if _is_number(v)]
    if fields:
        field = fields[_pick(random, fields)]
        value = getattr(options, field)
        if isinstance(value, bool):
            setattr(options, field, not value)
        else:
            setattr(options, field, type(value)(_number(random) % 2**7))
            if random.random() < 0.5:
                setattr(options, field, type(value)(_number(random)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _change_constant(random: Random, model: Any) -> None:
    filled = [b for b in model.buffers if b.data is not None and len(b.data)]
    if not filled:
        return
    # Short buffers are preferred: they hold shapes, axes and indices, long ones hold weights.
    filled.sort(key=lambda b: len(b.data))
    buffer = filled[min(_pick(random, filled), _pick(random, filled))]
    data = bytearray(schema.buffer_bytes(buffer))
    if random.random() < 0.8 and len(data) >= 4:
        place = 4 * int(random.integers(len(data) // 4))
        data[place : place + 4] = (_number(random) % 2**32).to_bytes(4, "little")
    else:
        data = data[: int(random.integers(len(data)))]
    buffer.data = np.frombuffer(bytes(data), np.uint8)


def _change_graph(random: Random, model: Any) -> None:
    graph = _some_graph(random, model)
    chance = random.random()
    if chance < 0.4:
        field = "inputs" if random.random() < 0.5 else "outputs"
        count = int(random.integers(4))
        indices = random.integers(-1, len(graph.tensors) + 1, count)
        setattr(graph, field, indices.astype(np.int32))
    elif chance < 0.6 and graph.operators:
        del graph.operators[_pick(random, graph.operators)]
    elif chance < 0.8 and graph.operators:
        graph.operators.append(graph.operators[_pick(random, graph.operators)])
    elif chance < 0.9:
        model.subgraphs.append(graph)
    else:
        del model.buffers[_pick(random, model.buffers)]


def main() -> int:
    """Runs the cases, and prints the report as JSON; returns 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", type=pathlib.Path, metavar="BUNDLE.task")
    parser.add_argument("--picture", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--runtime", type=pathlib.Path, metavar="PHOTO.jpg")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    photo = arguments.runtime
    from tqdm import tqdm

    with tqdm(total=arguments.cases, mininterval=5, unit="case") as bar:
        report = fuzz(
            [bundle.read_bytes() for bundle in arguments.bundles],
            [*make_pictures(), *(picture.read_bytes() for picture in arguments.picture)],
            range(arguments.first, arguments.first + arguments.cases),
            arguments.seed,
            lambda _: bar.update() and None,
            functools.partial(try_runtime, photo.read_bytes()) if photo else try_bundle,
            lean=photo is None,
        )
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
