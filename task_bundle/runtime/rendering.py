"""What is made of a photo: faces alone, pasted into the photo, or cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import numpy as np
import numpy.typing as npt

from task_bundle.errors import InvalidArgumentError, NoFaceError
from task_bundle.runtime.compositing import REGIONS, composite, cutout
from task_bundle.runtime.stylizer import FaceStylizer

FACE: Final = "face"
COMPOSITE: Final = "composite"
CUTOUT: Final = "cutout"


@dataclass(frozen=True)
class Rendering:
    """What is made of a photo.

    Attributes:
      form: 'face', the upright faces, a picture each; 'composite', the photo with the faces pasted
        into it; or 'cutout', the pasted faces alone, transparent elsewhere.
      color_match: whether pasted faces get the photo's colors.
      num_faces: the largest number of faces, the largest first.
      region: what of a face is pasted, 'head' or 'face'; see `task_bundle.composite`.
    """

    form: str = FACE
    color_match: bool = False
    num_faces: int = 1
    region: str = "head"

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          InvalidArgumentError: a value is out of range, or they contradict each other.
        """
        if self.form not in (FACE, COMPOSITE, CUTOUT):
            raise InvalidArgumentError(
                f"form must be '{FACE}', '{COMPOSITE}' or '{CUTOUT}', not {self.form!r}"
            )
        if self.num_faces < 1:
            raise InvalidArgumentError(f"num_faces must be positive, not {self.num_faces}")
        if self.region not in REGIONS:
            raise InvalidArgumentError(
                f"region must be one of {', '.join(REGIONS)}, not {self.region!r}"
            )
        if self.color_match and self.form == FACE:
            raise InvalidArgumentError("color_match needs a form that pastes: composite or cutout")

    def names(self, source: str) -> tuple[str, ...]:
        """Returns the file names, without a suffix, of what may be made of a photo.

        Args:
          source: the name of the photo.
        """
        stem = PurePath(source).stem
        count = self.num_faces if self.form == FACE else 1
        return (stem, *(f"{stem}-{i}" for i in range(2, count + 1)))

    def render(
        self, stylizer: FaceStylizer, photo: npt.NDArray[np.uint8], name: str
    ) -> Sequence[npt.NDArray[np.uint8]]:
        """Stylizes a photo.

        Args:
          stylizer: the stylizer, which looks for at most as many faces as its options say.
          photo: [height, width, 3] uint8 RGB.
          name: how error messages call the photo.

        Returns:
          The pictures, [height, width, 3 or 4] uint8, at least one and at most `len(names(...))`.

        Raises:
          NoFaceError: no face was found.
        """
        faces = stylizer.stylize_all(photo)
        if not faces:
            raise NoFaceError(f"no face was found in {name}")
        if self.form == COMPOSITE:
            return [composite(photo, faces, color_match=self.color_match, region=self.region)]
        if self.form == CUTOUT:
            return [cutout(photo, faces, color_match=self.color_match, region=self.region)]
        return [face.image for face in faces]
