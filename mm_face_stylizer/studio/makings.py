"""The stylizers that are being made, or have been: one for each browser."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile
import threading

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.studio.tuner import TuningJob
from mm_face_stylizer.studio.tuning import Tuning
from mm_face_stylizer.studio.workshop import Workshop
from task_bundle.media.images import save_png


@dataclasses.dataclass(frozen=True)
class Order:
    """What a stylizer is made from.

    Attributes:
      photo: The photo that shows the progress.
      styles: Pictures of the style.
      colors: See `PaintingChoices`.
      likeness: See `PaintingChoices`.
    """

    photo: pathlib.Path
    styles: tuple[pathlib.Path, ...]
    colors: str
    likeness: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Making:
    """A stylizer that is being made, or has been.

    Attributes:
      order: What it is made from.
      face: The photo's face as stylizers see it, uint8 [256, 256, 3].
      tuning: The process that makes it.
    """

    order: Order
    face: npt.NDArray[np.uint8]
    tuning: Tuning


class Makings:
    """Makes stylizers. A page that is closed or loaded again finds its browser's stylizer here."""

    def __init__(self, workshop: Workshop, folder: pathlib.Path, steps: int):
        """Begins with none.

        Args:
          workshop: What checks pictures and has the face models.
          folder: Existing folder for what is made; the caller deletes it.
          steps: Number of training steps of a stylizer.
        """
        self._workshop = workshop
        self._folder = folder
        self._steps = steps
        self._lock = threading.Lock()
        self._of_browser: dict[str, Making] = {}

    def of(self, browser: str) -> Making | None:
        """What a browser has had made last; None if nothing."""
        with self._lock:
            return self._of_browser.get(browser)

    def begin(self, browser: str, order: Order) -> Making:
        """Begins to make a stylizer, or returns the one that is being made for this browser.

        Args:
          browser: A name of the browser, which nobody else knows.
          order: What to make it from.

        Raises:
          ImageError: A file is no picture, is too big, or shows no face.
          ValueError: There is no style picture, or there are too many.
          OSError: The process cannot be started.
        """
        self._workshop.check_styles(order.styles)
        face = self._workshop.aligned(order.photo)
        with self._lock:
            last = self._of_browser.get(browser)
            if last is not None and last.tuning.state.running:
                return last
            if last is not None:
                last.tuning.close()
            folder = pathlib.Path(tempfile.mkdtemp(dir=self._folder))
            making = Making(order, face, Tuning(self._job(order, face, folder), folder))
            self._of_browser[browser] = making
            return making

    def forget(self, browser: str) -> None:
        """Forgets what a browser has had made, and ends it if it goes on."""
        with self._lock:
            making = self._of_browser.pop(browser, None)
        if making is not None:
            making.tuning.close()

    def close(self) -> None:
        """Ends all that go on. Closing twice does nothing."""
        for browser in list(self._of_browser):
            self.forget(browser)

    def _job(self, order: Order, face: npt.NDArray[np.uint8], folder: pathlib.Path) -> TuningJob:
        photo, models = folder / "photo.png", folder / "face_models.task"
        save_png(photo, face)
        models.write_bytes(self._workshop.face_models.landmarker_task())
        copies = []
        # The page's own files may be exchanged while the process starts.
        for index, path in enumerate(order.styles):
            # A folder for each: bundles say the names of the pictures that they were made from.
            copies.append(folder / f"style_{index + 1}" / path.name)
            copies[-1].parent.mkdir()
            shutil.copyfile(path, copies[-1])
        return TuningJob(
            styles=tuple(map(str, copies)), photo=str(photo), likeness=order.likeness,
            colors=order.colors, steps=self._steps, seed=0, face_models=str(models),
        )  # fmt: skip
