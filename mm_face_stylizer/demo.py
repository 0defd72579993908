"""The demo: from style pictures of the project's own to a portrait in that style."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.dataset import Dataset
from mm_face_stylizer.style_pictures import draw_style
from task_bundle.bundle import TaskBundle
from task_bundle.errors import NoFaceError
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.media.images import load_image, save_png
from task_bundle.runtime.stylizer import FaceStylizer
from task_bundle.sample_photo import sample_photo

_STYLE_PICTURES = 3


@dataclasses.dataclass(frozen=True)
class Demo:
    """Files and pictures of a demo run.

    Attributes:
      folder: Where everything goes; it must exist.
      style: Name of the style, one of `style_pictures.STYLE_NAMES`.
    """

    folder: pathlib.Path
    style: str

    @property
    def bundle(self) -> pathlib.Path:
        """The bundle's file."""
        return self.folder / "face_stylizer.task"

    @property
    def training(self) -> pathlib.Path:
        """The loss plot's file."""
        return self.folder / "training.png"

    @property
    def before_after(self) -> pathlib.Path:
        """The comparison's file."""
        return self.folder / "before_after.png"

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """All files that the demo writes."""
        styles = tuple(
            self.folder / f"style_{index}.png" for index in range(1, _STYLE_PICTURES + 1)
        )
        return *styles, self.bundle, self.training, self.before_after

    def style_data(self, face_models: FaceModels, side: int, seed: int, overwrite: bool) -> Dataset:
        """Draws the style pictures into the folder and reads them back as a user's would be.

        Args:
          face_models: What finds the faces in them.
          side: Side in pixels of the aligned pictures.
          seed: Seed of the drawings.
          overwrite: Whether existing files may be replaced.

        Returns:
          The aligned style pictures.
        """
        files = self.paths[:_STYLE_PICTURES]
        for index, path in enumerate(files):
            save_png(path, draw_style(self.style, seed=seed + index), overwrite=overwrite)
        return Dataset.from_images(files, size=side, face_models=face_models)

    def compare(self, data: Dataset, bundle: TaskBundle, overwrite: bool) -> None:
        """Stylizes a portrait with the bundle and draws it beside photo and style.

        Args:
          data: The aligned style pictures.
          bundle: What to stylize with.
          overwrite: Whether an existing file may be replaced.

        Raises:
          NoFaceError: MediaPipe finds no face in the portrait.
          BundleError: The bundle cannot be run.
        """
        photo = portrait()
        with FaceStylizer.create_from_bundle(bundle) as stylizer:
            face = stylizer.stylize(photo)
        if face is None:
            raise NoFaceError("MediaPipe found no face in the demo's portrait")
        crop = face.crop.crop(photo, face.height)
        sheet = ContactSheet(
            [[data.images[0], crop, face.image]], [f"{self.style}, photo, stylized"]
        )
        sheet.save(self.before_after, side=face.height * 3 // 2, overwrite=overwrite)


def portrait() -> np.ndarray:
    """A real portrait that every installation has: Grace Hopper, from matplotlib's samples.

    Returns:
      uint8 [height, width, 3].
    """
    return load_image(sample_photo())


def aligned_portrait(side: int) -> np.ndarray:
    """The same portrait, cropped as the runtime crops faces.

    Args:
      side: Side in pixels.

    Returns:
      uint8 [side, side, 3].
    """
    photo = portrait()
    with FaceFinder() as finder:
        return finder.find(photo)[0].crop.crop(photo, side)
