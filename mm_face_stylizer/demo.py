"""The demo: draws style pictures with code, and stylizes a sample portrait in that style."""

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
    """The files that a demo run reads and writes.

    Attributes:
      folder: Existing folder that all files are written to.
      style: Name of the style, one of `style_pictures.STYLE_NAMES`.
    """

    folder: pathlib.Path
    style: str

    @property
    def bundle(self) -> pathlib.Path:
        """Path of the bundle."""
        return self.folder / "face_stylizer.task"

    @property
    def training(self) -> pathlib.Path:
        """Path of the loss plot."""
        return self.folder / "training.png"

    @property
    def before_after(self) -> pathlib.Path:
        """Path of the picture that compares style, photo and result."""
        return self.folder / "before_after.png"

    @property
    def paths(self) -> tuple[pathlib.Path, ...]:
        """Paths of all files that the demo writes, the style pictures first."""
        styles = tuple(
            self.folder / f"style_{index}.png" for index in range(1, _STYLE_PICTURES + 1)
        )
        return *styles, self.bundle, self.training, self.before_after

    def style_data(self, face_models: FaceModels, side: int, seed: int, overwrite: bool) -> Dataset:
        """Draws the style pictures, writes them to the folder, and loads them as a data set.

        Args:
          face_models: The models that find the faces in the style pictures.
          side: Side in pixels of the aligned pictures.
          seed: Seed of the first style picture; each further one uses the next integer.
          overwrite: Whether existing files may be replaced.

        Returns:
          The aligned style pictures.
        """
        files = self.paths[:_STYLE_PICTURES]
        for index, path in enumerate(files):
            picture = draw_style(self.style, seed=seed + index)
            save_png(path, picture, overwrite=overwrite, marked=False)
        return Dataset.from_images(files, size=side, face_models=face_models)

    def compare(self, style: np.ndarray, bundle: TaskBundle, overwrite: bool) -> None:
        """Stylizes the sample portrait, and saves style, photo and result side by side.

        Args:
          style: The aligned style picture that the bundle learned, uint8 [side, side, 3].
          bundle: The stylizer bundle to run.
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
        sheet = ContactSheet([[style, crop, face.image]], [f"{self.style}, photo, stylized"])
        sheet.save(self.before_after, side=face.height * 3 // 2, overwrite=overwrite)


def portrait() -> np.ndarray:
    """Loads the portrait of Grace Hopper from matplotlib's sample data.

    Returns:
      uint8 [height, width, 3], RGB in [0, 255].
    """
    return load_image(sample_photo())


def aligned_portrait(side: int) -> np.ndarray:
    """Loads the sample portrait, aligned and cropped as the runtime crops faces.

    Args:
      side: Side of the crop in pixels.

    Returns:
      uint8 [side, side, 3], RGB in [0, 255].
    """
    photo = portrait()
    with FaceFinder() as finder:
        return finder.find(photo)[0].crop.crop(photo, side)
