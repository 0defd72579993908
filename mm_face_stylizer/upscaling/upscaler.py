"""An upscaler: enlarges pictures, and puts itself behind the stylizers of bundles."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from mm_face_stylizer.errors import InvalidArgumentError, PresetError
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.upscaling.tiles import Picture, upscale_tiles
from task_bundle.bundle import TaskBundle
from task_bundle.errors import BundleError
from task_bundle.faces.face_models import FaceModels
from task_bundle.tflite.joining import join_models
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.metadata import NORM_MEAN, NORM_STD, normalization
from task_bundle.tflite.model import check_stylizer, describe, picture_size
from task_bundle.tflite.resizing import resize_model

_FAMILY = "srresnet"
# Presets that come with the package, by scale.
_RELEASED = {2: "upscaler_fast_x2"}
# Pixels of a tile that are kept, in each direction.
_TILE_MIDDLE = 192
_PREFIX = "upscaler/"


@dataclasses.dataclass(frozen=True)
class Upscaler:
    """A trained upscaler.

    ```python
    from mm_face_stylizer.upscaling.upscaler import Upscaler
    from task_bundle import TaskBundle

    upscaler = Upscaler.find()
    upscaler.behind(TaskBundle.open("my_style.task")).save("my_style_512.task")
    ```

    Attributes:
      preset: Weights and card, of the family `srresnet`.
    """

    preset: Preset

    @classmethod
    def find(
        cls, name_or_folder: str | pathlib.Path | None = None, scale: int | None = None
    ) -> Upscaler:
        """Finds an upscaler.

        Args:
          name_or_folder: Name or folder of a preset, or the folder of a run that
            `upscaler train` has finished; None takes the one that comes with the package.
          scale: The factor on the side that it must have; any if None. Of the package's, 2 if None.

        Raises:
          InvalidArgumentError: `scale` is neither 2 nor 4, or the upscaler has another.
          PresetError: There is no such preset, or it is none of an upscaler.
        """
        if scale not in (None, 2, 4):
            raise InvalidArgumentError(f"the scale is {scale!r}; it must be 2 or 4")
        found = cls(_released(scale or 2) if name_or_folder is None else _opened(name_or_folder))
        if scale is not None and scale != found.scale:
            raise InvalidArgumentError(
                f"{found.preset.folder} enlarges {found.scale} x, and not {scale} x"
            )
        return found

    @functools.cached_property
    def scale(self) -> int:
        """Factor on the side of pictures."""
        return int(self.preset.config().scale)

    def model(self, side: int, precision: str = "float16") -> bytes:
        """Returns the network for pictures of one size. It needs no TensorFlow.

        Args:
          side: Side of the small picture in pixels.
          precision: `float16`, `float32` or `int8`.

        Returns:
          A TFLite flatbuffer without metadata.

        Raises:
          BundleError: The side is not divisible by what the network needs.
          PresetError: The preset has no export of this precision.
        """
        return resize_model(self.preset.exported(precision), side)

    def behind(self, bundle: TaskBundle, precision: str = "float16") -> TaskBundle:
        """Puts the upscaler behind the stylizer of a bundle, in the same graph.

        Args:
          bundle: The bundle. Its stylizer keeps its precision.
          precision: That of the upscaler: `float16`, `float32` or `int8`.

        Returns:
          A bundle whose pictures are `scale` times as wide.

        Raises:
          BundleError: The stylizer is no square image-to-image float32 model with values in [0, 1],
            or is upscaled already.
          PresetError: The upscaler has no export of this precision.
        """
        upscaler = self.model(_side(bundle.stylizer), precision)
        faces = FaceModels(bundle.detector, bundle.landmarks, "the bundle")
        return TaskBundle.build(join_models(bundle.stylizer, upscaler, _PREFIX), faces)

    def upscale(
        self,
        picture: Picture,
        threads: int = 1,
        progress: Callable[[list[tuple[int, int]]], Iterator[tuple[int, int]]] = iter,
    ) -> Picture:
        """Enlarges a picture of any size, tile by tile.

        Args:
          picture: uint8 [height, width, 3], RGB.
          threads: The largest number of threads.
          progress: Wraps the list of the tiles' corners, to show progress.

        Returns:
          uint8 [scale * height, scale * width, 3].

        Raises:
          ImageError: The picture has another form, or is too big.
        """
        model = LitertModel(self._tile_network, "the upscaler", threads)

        def enlarge(tile: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            (values,) = model.run(tile)
            return values

        side, margin = model.input_shape[1], self.preset.config().margin
        return upscale_tiles(picture, self.scale, side, margin, enlarge, progress)

    @functools.cached_property
    def _tile_network(self) -> bytes:
        return self.model(_TILE_MIDDLE + 2 * self.preset.config().margin, "float32")


def _released(scale: int) -> Preset:
    """Opens the package's upscaler."""
    if scale not in _RELEASED:
        raise PresetError(
            f"this version has no released upscaler to {scale} x; `mm-face-stylizer upscaler "
            "train` makes one, whose folder --upscaler takes"
        )
    return Preset.find(_RELEASED[scale])


def _opened(name_or_folder: str | pathlib.Path) -> Preset:
    """Opens a preset, or the one in the folder of a run, and checks its family."""
    found = list(pathlib.Path(name_or_folder).glob("*/card.json"))
    if len(found) == 1:
        name_or_folder = found[0].parent
    preset = Preset.find(name_or_folder)
    if preset.card.get("family") != _FAMILY:
        raise PresetError(
            f"{name_or_folder} is a preset of a stylizer and not of an upscaler, which "
            "`mm-face-stylizer upscaler train` makes"
        )
    return preset


def _side(stylizer: bytes) -> int:
    """Returns the side of a stylizer's pictures, after checking that it can be upscaled."""
    check_stylizer(stylizer)
    info = describe(stylizer)
    (width, height), (new_width, new_height) = (
        picture_size(tensor) for tensor in (*info.inputs, *info.outputs)
    )
    if width != height:
        raise BundleError(
            f"the stylizer takes pictures of {width} x {height} pixels; an upscaler needs square "
            "ones"
        )
    if (new_width, new_height) != (width, height):
        raise BundleError(
            f"the bundle is upscaled already: it makes pictures of {new_width} x {new_height} "
            f"pixels out of {width} x {height}"
        )
    if normalization(stylizer) not in (None, ([NORM_MEAN], [NORM_STD])):
        raise BundleError(
            "the stylizer's metadata ask for pixels in another range than [0, 1]; such a model "
            "cannot be upscaled"
        )
    return width
