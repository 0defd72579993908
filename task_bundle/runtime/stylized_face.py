"""The result of stylizing one face."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from task_bundle.faces.alignment import Face, FaceCrop


@dataclass(frozen=True, eq=False)
class StylizedFace:
    """A stylized face, and its place in the photo.

    Like the `mediapipe.Image` that Google's task returns, it has `numpy_view()`, `width` and
    `height`.

    Attributes:
      image: [height, width, 3] uint8 RGB, the stylized picture of the crop. With nearly every
        bundle it is square.
      face: the face in the photo, with landmarks in pixels of the photo.
    """

    image: npt.NDArray[np.uint8]
    face: Face

    def __repr__(self) -> str:
        """Names the size of the picture, and the place of the face in the photo."""
        size = f"{self.width} x {self.height} px"
        return f"<StylizedFace: {size}, of a face {self.crop.place()}>"

    def _repr_png_(self) -> bytes:
        """Returns the picture, which notebooks show in place of the repr."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(self.image).save(buffer, "PNG")
        return buffer.getvalue()

    @property
    def crop(self) -> FaceCrop:
        """The rotated square of the photo that was stylized."""
        return self.face.crop

    @property
    def landmarks(self) -> npt.NDArray[np.float64]:
        """The landmarks of the face, [478, 3] float64 in pixels of the photo."""
        return self.face.landmarks

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The matrix, [4, 4] float64, from pixels of the photo to those of the picture.

        z is scaled but not rotated.
        """
        flat = self.crop.matrix((self.width, self.height))
        matrix = np.eye(4)
        matrix[:2, :2], matrix[:2, 3] = flat[:2, :2], flat[:2, 2]
        matrix[2, 2] = min(self.width, self.height) / self.crop.side
        return matrix

    @property
    def width(self) -> int:
        """The width of the picture, in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """The height of the picture, in pixels."""
        return int(self.image.shape[0])

    def numpy_view(self) -> npt.NDArray[np.uint8]:
        """Returns a read-only view of the picture, like `mediapipe.Image`."""
        view = self.image.view()
        view.setflags(write=False)
        return view
