"""Reading pictures in whatever form people have them, and writing PNG."""

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from task_bundle.errors import ImageError
from task_bundle.files import atomic_write

if TYPE_CHECKING:
    import PIL.Image

# Pillow's modes of more than eight bits a pixel, all one grey channel.
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


def load_image(path: str | os.PathLike[str], max_megapixels: float = 50.0) -> npt.NDArray[np.uint8]:
    """Reads a picture.

    The orientation that cameras note in EXIF is applied, transparency is laid over white, and any
    colour mode becomes RGB. Grey of 16 bits is scaled by its whole range, [0, 65535]; floating
    point grey likewise, unless it lies within [0, 1]. Of several frames the first is taken.

    Args:
      path: the file, in any format that Pillow reads.
      max_megapixels: a bigger picture is refused before it is decoded.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: naming the file: missing, a folder, empty, not a picture, truncated, too big.
    """
    from PIL import Image, UnidentifiedImageError

    file = Path(path)
    if not file.exists():
        raise ImageError(f"{file} does not exist")
    if file.is_dir():
        raise ImageError(f"{file} is a folder, not a picture")
    if not file.is_file():
        raise ImageError(f"{file} is not a file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of big pictures at a limit of its own; ours follows.
            warnings.simplefilter("ignore")
            if file.stat().st_size == 0:
                raise ImageError(f"{file} is empty")
            with Image.open(file) as image:
                width, height = image.size
                if width * height > max_megapixels * 1e6:
                    raise ImageError(
                        f"{file} has {width} x {height} pixels, more than"
                        f" {max_megapixels:g} megapixels"
                    )
                image.load()
                return _to_rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{file} is not a picture in a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{file} is too big: {error}") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files.
        raise ImageError(f"{file} cannot be read, it may be truncated: {error}") from error


def from_pillow(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    """Converts a Pillow image, as `load_image` does.

    Args:
      image: of any mode and size, read from a file or not.

    Returns:
      [height, width, 3] uint8 RGB.

    Raises:
      ImageError: it has no pixels, or its file cannot be read.
    """
    try:
        pixels = _to_rgb(image)
    except Exception as error:  # As in `load_image`: Pillow reads the file when it must.
        raise ImageError(f"the picture cannot be read, it may be truncated: {error}") from error
    check_image(pixels)
    return pixels


def over_white(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lays a picture with transparency over white.

    Args:
      image: [height, width, 4] uint8 RGBA, the colours not multiplied by alpha.

    Returns:
      [height, width, 3] uint8 RGB.
    """
    from PIL import Image

    coloured = Image.fromarray(image)
    white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, coloured).convert("RGB"), np.uint8)


def save_png(
    path: str | os.PathLike[str],
    image: npt.NDArray[np.uint8],
    overwrite: bool = False,
    icc_profile: bytes | None = None,
) -> None:
    """Writes a picture as PNG, whole or not at all.

    Args:
      path: the file. Its folder must exist.
      image: [height, width, 3] uint8 RGB or [height, width, 4] uint8 RGBA.
      overwrite: whether a file already there may be replaced.
      icc_profile: what the colours mean; sRGB if None.

    Raises:
      ImageError: `image` is not such an array.
      FileExistsError: the file exists and `overwrite` is false.
      OSError: the file cannot be written.
    """
    from PIL import Image

    has_alpha = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 4
    check_image(image[..., :3] if has_alpha else image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", icc_profile=icc_profile)
    atomic_write(path, buffer.getvalue(), overwrite)


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Checks that an array is a picture.

    Args:
      image: anything.

    Raises:
      ImageError: it is not a uint8 array of shape [height, width, 3] with at least one pixel.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"a picture must be a uint8 array, not {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"a picture must have shape [height, width, 3], not {list(image.shape)}")


def _to_rgb(image: "PIL.Image.Image") -> npt.NDArray[np.uint8]:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP_MODES:
        grey = _to_eight_bits(np.asarray(image))
        return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        # Through LA a premultiplied or palette alpha would be lost on the way.
        return over_white(np.array(image.convert("RGBA"), np.uint8))
    return np.array(image.convert("RGB"), np.uint8)


def _to_eight_bits(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    deep = np.nan_to_num(np.asarray(values, np.float64))
    if values.dtype.kind == "f" and deep.size and deep.min() >= 0.0 and deep.max() <= 1.0:
        deep = deep * 65535.0
    return np.asarray(np.clip(np.rint(deep / 257.0), 0, 255), np.uint8)
