"""Tests of task_bundle.media.source_type: what other programs find in the files."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from source_types import source_type

from task_bundle.media.images import load_image, save_png
from task_bundle.media.source_type import SOURCE_TYPE, append_to_mp4, xmp_packet
from task_bundle.media.video import Frame, Video, save_video

_PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def test_it_is_well_formed_and_has_the_property() -> None:
    body = xmp_packet().partition("?>")[2].rpartition("<?")[0]
    (description,) = ElementTree.fromstring(body).iter(
        "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
    )
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[name] == SOURCE_TYPE
    assert SOURCE_TYPE.endswith("/compositeWithTrainedAlgorithmicMedia")


@pytest.mark.parametrize("channels", [3, 4])
def test_pngs_are_marked_unless_told(tmp_path: Path, channels: int) -> None:
    picture = np.concatenate([_PICTURE, _PICTURE[..., :1]], axis=2)[..., :channels]
    save_png(tmp_path / "marked.png", picture)
    save_png(tmp_path / "unmarked.png", picture, marked=False)
    assert source_type(tmp_path / "marked.png") == SOURCE_TYPE
    assert source_type(tmp_path / "unmarked.png") is None
    read = [load_image(tmp_path / name) for name in ("marked.png", "unmarked.png")]
    np.testing.assert_array_equal(*read)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_pillow_writes_it_into_other_formats(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(_PICTURE).save(tmp_path / f"x{suffix}", xmp=xmp_packet().encode())
    assert source_type(tmp_path / f"x{suffix}") == SOURCE_TYPE


def test_videos_are_marked_unless_told(tmp_path: Path) -> None:
    frames = [Frame(_PICTURE, 40.0 * number) for number in range(5)]
    save_video(tmp_path / "marked.mp4", frames, 25)
    save_video(tmp_path / "unmarked.mp4", frames, 25, marked=False)
    assert source_type(tmp_path / "marked.mp4") == SOURCE_TYPE
    assert source_type(tmp_path / "unmarked.mp4") is None
    for name in ("marked.mp4", "unmarked.mp4"):
        with Video(tmp_path / name) as video:
            assert len(list(video.frames())) == 5


def test_the_box_says_its_own_size() -> None:
    file = io.BytesIO()
    append_to_mp4(file)
    assert int.from_bytes(file.getvalue()[:4], "big") == len(file.getvalue())
