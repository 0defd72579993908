"""Stylizes very many photos: on all cores of a machine, or on a cluster of Ray.

Needs the extra `ray`. Photos are files in a folder or in an object store, and so is what becomes of
them. Nothing but names goes through Ray: each worker reads, stylizes and writes on its own.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError, ImageError, InvalidArgumentError
from task_bundle.media.images import (
    PICTURE_SUFFIXES,
    decode_color_profile,
    decode_image,
    encode_png,
)
from task_bundle.media.storage import Storage
from task_bundle.runtime.rendering import Rendering
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions

Batch = Mapping[str, npt.NDArray[Any]]

# Starts a cluster of this machine's cores for the time of the call.
THIS_MACHINE: Final = "this-machine"

# Photos that a worker takes at once. If it dies, they are done again by another.
_BATCH: Final = 16
# Parts in which photos are handed out: enough to keep all workers busy, few enough for Ray's head.
_MOST_BLOCKS: Final = 5000
# Photos that failed are written down this often at least.
_ERRORS_A_FILE, _SECONDS_A_FILE = 1000, 60.0
_ERRORS: Final = "_errors"


class PhotoStylizer:
    """Stylizes batches of photos: a callable class for `map_batches` of Ray Data.

    ```python
    import ray
    from task_bundle.batch import PhotoStylizer

    photos = ray.data.from_items([{"photo": "a.jpg"}, {"photo": "b.jpg"}])
    results = photos.map_batches(
        PhotoStylizer,
        fn_constructor_args=("s3://bundles/ink.task", "s3://in", "s3://out"),
        batch_size=16,
        compute=ray.data.ActorPoolStrategy(size=2),
    )
    ```
    """

    def __init__(
        self,
        bundle: str,
        source: str,
        target: str,
        rendering: Rendering | None = None,
        marked: bool = True,
    ) -> None:
        """Loads the bundle; each worker does this once.

        Args:
          bundle: the path or URI of a `.task` file that all workers can read.
          source: the folder or object store with the photos.
          target: the folder or object store for PNG files; see `Storage`.
          rendering: what is made of each photo; the biggest face alone if None.
          marked: see `task_bundle.save_png`.

        Raises:
          BundleError: the bundle is not safe to load, or cannot be run.
        """
        self._source, self._target = Storage(source), Storage(target)
        self._rendering, self._marked = rendering or Rendering(), marked
        options = FaceStylizerOptions(num_faces=self._rendering.num_faces)
        folder, _, name = bundle.rpartition("/")
        content = Storage(folder or ".").read(name)
        self._stylizer = FaceStylizer.create_from_model_buffer(content, options)

    def __call__(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        """Stylizes a batch.

        Args:
          batch: the column `photo` has names of files below `source`.

        Returns:
          Columns of the same length: `photo`; `pictures`, the number of files that were written;
          and `error`, why there are none, or an empty string.
        """
        names = [str(name) for name in batch["photo"]]
        results = [self._stylize(name) for name in names]
        return {
            "photo": np.array(names, dtype=object),
            "pictures": np.array([count for count, _ in results], np.int64),
            "error": np.array([error for _, error in results], dtype=object),
        }

    def _stylize(self, name: str) -> tuple[int, str]:
        try:
            content = self._source.read(name)
            photo = decode_image(content, name)
            pictures = self._rendering.render(self._stylizer, photo, name)
            profile = decode_color_profile(content, name)
            targets = target_names(name, self._rendering)
            # The first is written last: where it exists, all of them do.
            for target, picture in reversed(list(zip(targets, pictures, strict=False))):
                self._target.write(target, encode_png(picture, profile, self._marked))
        except (ImageError, BundleError, OSError) as error:
            return 0, " ".join(str(error).split()) or type(error).__name__
        return len(pictures), ""


def target_names(name: str, rendering: Rendering) -> list[str]:
    """Returns the names of the files that may be written for a photo, in the same subfolder.

    Args:
      name: the name of the photo.
      rendering: what is made of it.
    """
    folder = name.rpartition("/")[0]
    return [f"{folder}/{stem}.png".lstrip("/") for stem in rendering.names(name)]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a call of `stylize_photos` did.

    Attributes:
      stylized: photos that were stylized.
      failed: photos that could not be; `_errors` in the target says why, a row each.
      skipped: photos that an earlier call had stylized or had failed at.
      seconds: time that it took, with the start of the workers.
    """

    stylized: int
    failed: int
    skipped: int
    seconds: float


def stylize_photos(
    bundle: TaskBundle,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    rendering: Rendering | None = None,
    address: str = THIS_MACHINE,
    workers: int | None = None,
    marked: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Stylizes all photos in a folder and its subfolders, or in an object store.

    What has been done is not done again, so that the same call goes on after an interruption. A
    photo that cannot be read, or in which no face is found, stops nothing: it becomes a row in a
    CSV file in `_errors` of the target. Without that folder such photos are tried again.

    Args:
      bundle: the bundle.
      source: the photos; see `Storage`. On a cluster all machines must reach it.
      target: where the pictures are written, in subfolders of the same names.
      rendering: what is made of each photo; the biggest face alone if None.
      address: `THIS_MACHINE`; or a running cluster: 'auto' on one of its machines, or its address.
      workers: the number of processes, one core each; all cores of the cluster if None.
      marked: see `task_bundle.save_png`.
      overwrite: whether everything is done again.
      progress: called as `progress(done, total)` after each batch.

    Returns:
      The numbers of photos.

    Raises:
      BundleError: the bundle is not safe to load.
      ImageError: there are no photos, or two would be written to the same file.
      ModuleNotFoundError: Ray is not installed.
      ConnectionError: there is no cluster at the address.
    """
    began = time.monotonic()
    rendering = rendering or Rendering()
    if workers is not None and workers < 1:
        raise InvalidArgumentError(f"workers is {workers}; it must be at least 1")
    _refuse_nested(os.fspath(source), os.fspath(target))
    # Otherwise the check would fail in all workers.
    bundle.validate()
    photos, results = Storage(os.fspath(source)), Storage(os.fspath(target))
    todo, skipped = _todo(photos, results, rendering, overwrite)
    counts = {"stylized": 0, "failed": 0}
    with _ErrorLog(results) as errors:
        if todo:
            # Workers that start late, or again, find it there as well.
            content = bundle.to_bytes()
            name = f"_bundles/{hashlib.sha256(content).hexdigest()[:16]}.task"
            results.write(name, content)
            arguments = results.path(name), photos.location, results.location, rendering, marked
            for batch in _run(todo, arguments, address, workers):
                for name, error in zip(batch["photo"], batch["error"], strict=True):
                    counts["failed" if error else "stylized"] += 1
                    if error:
                        errors.add(str(name), str(error))
                if progress is not None:
                    progress(sum(counts.values()), len(todo))
    return Outcome(**counts, skipped=skipped, seconds=round(time.monotonic() - began, 1))


def _refuse_nested(source: str, target: str) -> None:
    outer, inner = (
        place.rstrip("/") if "://" in place else os.path.realpath(place)
        for place in (source, target)
    )
    if f"{inner}/".startswith(f"{outer}/"):
        raise ImageError(
            f"the pictures would be written into {source}, among the photos; choose another folder"
        )


def _todo(
    photos: Storage, results: Storage, rendering: Rendering, overwrite: bool
) -> tuple[list[str], int]:
    """Lists the photos that are to be stylized, and counts those that need not be."""
    done = set() if overwrite else {*results.names((".png",))}
    failed = set() if overwrite else {*_logged_errors(results)}
    owners: dict[str, str] = {}
    todo, skipped = [], 0
    for name in photos.names(PICTURE_SUFFIXES):
        first = target_names(name, rendering)[0]
        if first in owners:
            raise ImageError(
                f"{photos.path(owners[first])} and {photos.path(name)} would both be written to"
                f" {results.path(first)}"
            )
        owners[first] = name
        if first in done or name in failed:
            skipped += 1
        else:
            todo.append(name)
    if not owners:
        raise ImageError(f"there are no pictures in {photos.location}")
    return todo, skipped


def _run(
    names: Sequence[str], arguments: tuple[Any, ...], address: str, workers: int | None
) -> Iterator[Batch]:
    """Stylizes photos with Ray, and yields what `PhotoStylizer` returns, in any order."""
    # Otherwise a cluster that is started here would report its use to Ray's makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's own default is 15, with which its workers hardly get any time beside other work.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray
    import ray.data

    started = not ray.is_initialized()
    if started:
        ray.init(
            address="local" if address == THIS_MACHINE else address,
            include_dashboard=False if address == THIS_MACHINE else None,
            logging_level="ERROR",
            log_to_driver=False,
        )
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        count = min(count, -(-len(names) // _BATCH))
        blocks = min(_MOST_BLOCKS, -(-len(names) // _BATCH))
        rows = ray.data.from_items([{"photo": name} for name in names], override_num_blocks=blocks)
        results = rows.map_batches(
            PhotoStylizer,
            fn_constructor_args=arguments,
            batch_size=_BATCH,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=1,
        )
        yield from results.iter_batches(batch_size=None, batch_format="numpy")
    finally:
        if started:
            ray.shutdown()


class _ErrorLog:
    """Writes photos that failed to CSV files, of which none is changed once it is written."""

    def __init__(self, results: Storage) -> None:
        self._results = results
        self._rows: list[tuple[str, str]] = []
        self._written = time.monotonic()

    def add(self, photo: str, error: str) -> None:
        """Adds a row, and writes the rows from time to time."""
        self._rows.append((photo, error))
        waited = time.monotonic() - self._written
        if len(self._rows) >= _ERRORS_A_FILE or waited > _SECONDS_A_FILE:
            self._write()

    def __enter__(self) -> _ErrorLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def _write(self) -> None:
        if self._rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("photo", "error"), *self._rows])
            name = f"{_ERRORS}/{time.time_ns()}.csv"
            # Names of files need not be UTF-8.
            self._results.write(name, text.getvalue().encode(errors="surrogateescape"))
        self._rows, self._written = [], time.monotonic()


def _logged_errors(results: Storage) -> Iterable[str]:
    """Reads which photos failed in earlier calls."""
    log = Storage(results.path(_ERRORS))
    for name in log.names((".csv",)):
        for row in csv.DictReader(io.StringIO(log.read(name).decode(errors="surrogateescape"))):
            yield row["photo"]
