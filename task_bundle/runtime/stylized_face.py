"""What a stylizer makes of one face, and where in the photo it belongs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from task_bundle.faces.alignment import Face, FaceCrop


@dataclass(frozen=True, eq=False)
class StylizedFace:
    """A stylized face.

    It also has what code for Google's task uses of its result, a `mediapipe.Image`: `numpy_view()`,
    `width`, `height`.

    Attributes:
      image: [height, width, 3] uint8 RGB, the stylizer's picture of the crop, square with nearly
        every bundle.
      face: the face in the photo, with its landmarks in pixels of the photo.
    """

    image: npt.NDArray[np.uint8]
    face: Face

    @property
    def crop(self) -> FaceCrop:
        """The rotated square of the photo that was stylized."""
        return self.face.crop

    @property
    def landmarks(self) -> npt.NDArray[np.float64]:
        """[478, 3], in pixels of the photo."""
        return self.face.landmarks

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """[4, 4], from the photo's pixels to the picture's; z is scaled and not turned."""
        flat = self.crop.matrix((self.width, self.height))
        matrix = np.eye(4)
        matrix[:2, :2], matrix[:2, 3] = flat[:2, :2], flat[:2, 2]
        matrix[2, 2] = min(self.width, self.height) / self.crop.side
        return matrix

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return int(self.image.shape[0])

    def numpy_view(self) -> npt.NDArray[np.uint8]:
        """Returns the picture, not writeable, as a `mediapipe.Image` does."""
        view = self.image.view()
        view.setflags(write=False)
        return view
