"""What the tags of a TIFF say of its numbers, where Pillow does not heed it."""

from typing import TYPE_CHECKING, Any

from task_bundle.errors import ImageError

if TYPE_CHECKING:
    import PIL.Image

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_SAMPLE_FORMAT, _UNSIGNED, _SIGNED = 339, 1, 2
_DEPTH, _COMPRESSION, _UNCOMPRESSED = 258, 259, 1
_PLANES, _SEPARATE = 284, 2
# Raw files of most cameras are TIFF, in which the first picture is a preview.
_DNG_VERSION = 50706
_SUBFILE_TYPE, _REDUCED = 254, 1


class TiffTags:
    """Tags of a picture; one of another format has none.

    Attributes:
      is_unsigned: whether numbers are stated to be unsigned.
      has_15_bits: whether numbers are signed ones of 16 bits, of which pictures use 15.
      is_negative: whether 0 is white.
      is_raw: whether this is a camera's raw file, whose first picture is a preview.
      has_planes: whether colors lie one behind the other.
      has_colors_of_16_bits: whether Pillow reads the upper halves alone of colors of 16 bits.
      has_lower_halves: whether Pillow can be made to read the lower halves, too. Of compressed
        planes it reads the upper ones in either byte order.
    """

    def __init__(self, image: "PIL.Image.Image") -> None:
        self._tags: Any = getattr(image, "tag_v2", {})
        sample_format = self._number(_SAMPLE_FORMAT)
        self.is_unsigned, self._is_signed = sample_format == _UNSIGNED, sample_format == _SIGNED
        self.is_negative = self._number(_PHOTOMETRIC) == _WHITE_IS_ZERO
        self.is_raw = bool(
            _DNG_VERSION in self._tags or (self._number(_SUBFILE_TYPE) or 0) & _REDUCED
        )
        self.has_planes = self._number(_PLANES) == _SEPARATE
        self._depth = self._number(_DEPTH)
        self.has_15_bits = self._is_signed and self._depth == 16
        self.has_colors_of_16_bits = image.mode == "RGB" and self._depth == 16
        is_compressed = self._number(_COMPRESSION) != _UNCOMPRESSED
        self.has_lower_halves = not (self.has_planes and is_compressed)

    def check(self, name: str) -> None:
        """Refuses what Pillow would read wrong.

        Args:
          name: what errors call the file.

        Raises:
          ImageError: the numbers are signed and have eight bits.
        """
        if self._is_signed and self._depth == 8:
            raise ImageError(f"{name} is a TIFF of signed numbers of 8 bits; save it as PNG")

    def correct(self, image: Any) -> None:
        """Makes Pillow read colors that lie one behind the other as what they are.

        Pillow takes each plane for one of eight bits unless it is compressed: all are garbled then.

        Args:
          image: the open picture of these tags, whose pixels have not been read yet.
        """
        if self.has_planes and (self._depth or 8) > 8:
            order = "L" if getattr(self._tags, "prefix", b"II") == b"II" else "B"
            image.tile = [
                tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))
                if tile.codec_name == "raw" and tile.args[0] in ("R", "G", "B")
                else tile
                for tile in image.tile
            ]

    def _number(self, tag: int) -> int | None:
        value = self._tags.get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        return value if isinstance(value, int) else None
