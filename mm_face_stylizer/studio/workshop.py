"""What the studio does with pictures: paints them, and stylizes them with bundles."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait import Portrait
from mm_face_stylizer.painting.portrait_finder import PortraitFinder, find_all
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.ready_styles import ready_bundle, ready_styles
from task_bundle.bundle import TaskBundle
from task_bundle.errors import ImageError
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.images import load_image
from task_bundle.runtime.stylizer_model import StylizerModel

# The side of a first painting, which is there at once, and of the one that takes its place.
QUICK_SIDE, FINE_SIDE = 256, 512
MOST_STYLES = 10
# Photos, painters and networks that are kept: a user goes back and forth between a few.
_KEPT = 16

Pixels = npt.NDArray[np.uint8]
_Value = TypeVar("_Value")


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """A face before and after.

    Attributes:
      before: The aligned face of the photo, uint8 [side, side, 3].
      after: The picture made of it, uint8 [side, side, 3].
      seconds: How long that took, the search for the face included.
      likeness: Likeness of a painting; None if it is none.
    """

    before: Pixels
    after: Pixels
    seconds: float
    likeness: float | None = None


class Workshop:
    """Makes pictures for the studio. Threads may share one; use it in a `with` statement."""

    def __init__(self, face_models: FaceModels):
        """Loads the models that find faces.

        Args:
          face_models: The models.

        Raises:
          BundleError: LiteRT cannot run the network that finds the person.
        """
        self.face_models = face_models
        self._preset = Preset.find()
        self._finder = PortraitFinder(face_models)
        # Neither the finder nor a network may run in two threads at once, and two paintings at
        # once would each take twice as long.
        self._lock = threading.RLock()
        self._kept: collections.OrderedDict[Hashable, object] = collections.OrderedDict()

    def paint(
        self,
        styles: Sequence[pathlib.Path],
        photo: pathlib.Path,
        likeness: float | None = None,
        colors: str = "style",
        side: int = QUICK_SIDE,
    ) -> Look:
        """Paints the biggest face of a photo in a style.

        Args:
          styles: Pictures of the style, each with a face; at most `MOST_STYLES`.
          photo: The photo.
          likeness: See `Painter`; chosen from the style pictures if None.
          colors: See `Painter`.
          side: Side of the painting in pixels, a multiple of 8.

        Raises:
          ImageError: A file is no picture, is too big, or shows no face.
          ValueError: There is no style picture, there are too many, or an option is out of range.
        """
        with self._lock:
            start = time.perf_counter()
            face = self._portrait(photo, side)
            painter = self._painter(tuple(styles), likeness, colors, side)
            painting = painter.paint(face)
            seconds = time.perf_counter() - start
        return Look(face.pixels, painting.picture, seconds, painting.likeness)

    def in_ready_style(self, name: str, photo: pathlib.Path) -> Look:
        """Stylizes the biggest face of a photo with a ready style.

        Args:
          name: One of `ready_styles()`.
          photo: The photo.

        Raises:
          ImageError: The file is no picture, is too big, or shows no face.
          PresetError: There is no such style.
        """
        # The package's own models need no checks in another process, as those of bundles do.
        return self._stylized(("ready", name), lambda: self._preset.ready_stylizer(name), photo)

    def in_all_ready_styles(self, photo: pathlib.Path) -> list[tuple[Pixels, str]]:
        """Stylizes the biggest face of a photo with each ready style.

        Returns:
          Pictures and names of the styles.

        Raises:
          ImageError: The file is no picture, is too big, or shows no face.
        """
        return [(self.in_ready_style(name, photo).after, name) for name in ready_styles()]

    def with_bundle(self, bundle: pathlib.Path, photo: pathlib.Path) -> Look:
        """Stylizes the biggest face of a photo with a bundle that the studio has made.

        Args:
          bundle: A `.task` file whose stylizer takes pictures of `QUICK_SIDE` pixels.
          photo: The photo.

        Raises:
          BundleError: The bundle cannot be run.
          ImageError: The photo is no picture, is too big, or shows no face.
        """
        return self._stylized(("bundle", bundle), lambda: TaskBundle.open(bundle).stylizer, photo)

    def ready(self, name: str) -> TaskBundle:
        """Makes the bundle of a ready style."""
        return ready_bundle(name, self.face_models)

    def aligned(self, photo: pathlib.Path) -> Pixels:
        """The biggest face of a photo as stylizers see it, uint8 [256, 256, 3]."""
        with self._lock:
            return self._portrait(photo, QUICK_SIDE).pixels

    def check_styles(self, styles: Sequence[pathlib.Path]) -> None:
        """Checks that each style picture shows a face.

        Raises:
          ImageError: A file is no picture, is too big, or shows no face.
          ValueError: There is no style picture, or there are too many.
        """
        with self._lock:
            self._style_portraits(styles, QUICK_SIDE)

    def close(self) -> None:
        """Frees the models. Closing twice does nothing."""
        with self._lock:
            self._finder.close()

    def __enter__(self) -> Self:
        """Returns the workshop itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the workshop."""
        self.close()

    def _stylized(self, key: Hashable, network: Callable[[], bytes], photo: pathlib.Path) -> Look:
        with self._lock:
            start = time.perf_counter()
            face = self._portrait(photo, QUICK_SIDE)
            model = self._once(key, lambda: StylizerModel(network()))
            after = model.run(face.pixels)
            seconds = time.perf_counter() - start
            # The photo is shown as sharp as the stylized picture, which may be an enlarging one.
            before = self._portrait(photo, after.shape[0]).pixels
        return Look(before, after, seconds)

    def _portrait(self, path: pathlib.Path, side: int) -> Portrait:
        return self._once(
            ("portrait", path, side),
            lambda: self._finder.find(_load(path), side, path.name),
        )

    def _style_portraits(self, paths: Sequence[pathlib.Path], side: int) -> list[Portrait]:
        if not paths:
            raise InvalidArgumentError("there is no style picture; drop one to ten of one style")
        if len(paths) > MOST_STYLES:
            raise InvalidArgumentError(
                f"there are {len(paths)} style pictures; {MOST_STYLES} are the most"
            )
        return find_all(
            [path.name for path in paths], lambda index: self._portrait(paths[index], side)
        )

    def _painter(
        self, styles: tuple[pathlib.Path, ...], likeness: float | None, colors: str, side: int
    ) -> Painter:
        return self._once(
            ("painter", styles, likeness, colors, side),
            lambda: Painter(self._style_portraits(styles, side), likeness, colors),
        )

    def _once(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Returns what was made for a key before, or makes it; the oldest are forgotten."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > 2 * len(ready_styles()) + _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]  # type: ignore[return-value]


def _load(path: pathlib.Path) -> Pixels:
    """Reads a picture; messages have its name, not the temporary folder of the upload."""
    try:
        return load_image(path)
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), path.name)) from error
