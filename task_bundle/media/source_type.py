"""The mark of pictures and videos that a trained network had a part in.

IPTC's property `DigitalSourceType` says it, in an XMP packet, where sites and programs look for it.
Sources: IPTC, "Photo Metadata Standard", property Digital Source Type, and the NewsCodes of that
name; ISO 16684-1 and Adobe, "XMP Specification Part 3: Storage in Files" (2020).
"""

import uuid
from typing import BinaryIO, Final

# A photo or a drawing in which elements were made by a trained model.
SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
# The keyword of a PNG's text that holds XMP.
PNG_KEYWORD: Final = "XML:com.adobe.xmp"
# The box of MP4 that holds XMP.
_MP4_BOX: Final = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")


def xmp_packet(source_type: str = SOURCE_TYPE) -> str:
    """Returns an XMP packet with the source type and nothing else.

    Pillow takes it as `image.save(path, xmp=xmp_packet().encode())` for JPEG and WebP, and
    `save_png` and `save_video` write it.

    Args:
      source_type: URL of one of IPTC's digital source types.
    """
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{source_type}"/>'
        "</rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )


def append_to_mp4(file: BinaryIO) -> None:
    """Adds the mark to an MP4 file that is complete.

    Args:
      file: The file, open for writing at its end.

    Raises:
      OSError: The file cannot be written.
    """
    content = _MP4_BOX.bytes + xmp_packet().encode()
    file.write((8 + len(content)).to_bytes(4, "big") + b"uuid" + content)
