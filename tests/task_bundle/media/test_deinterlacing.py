"""Tests of task_bundle.media.deinterlacing."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from films import read_frames

from task_bundle.errors import VideoError
from task_bundle.media import deinterlacing
from task_bundle.media.video import Frame


def _moving(time: float) -> npt.NDArray[np.uint8]:
    """A white bar on black that moves by 32 pixels from one frame to the next."""
    picture = np.zeros((96, 160, 3), np.uint8)
    left = 8 + round(32 * time)
    picture[:, left : left + 12] = 255
    return picture


def _write(
    path: Path, codec: str, options: dict[str, str], is_interlaced: bool = True, height: int = 96
) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, 25, options, width=160, height=height, pix_fmt="yuv420p")
        for number in range(4):
            picture = _moving(number)
            if is_interlaced:
                picture[1::2] = _moving(number + 0.5)[1::2]
            frame = av.VideoFrame.from_ndarray(picture[:height], "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def _bars(frame: Frame, number: int) -> list[float]:
    """The brightness where the bar is in the frame's two fields, the darker first."""
    places = 8 + 32 * number, 8 + 32 * number + 16
    return sorted(float(frame.image[8:-8, left + 2 : left + 10].mean()) for left in places)


_X264 = {"crf": "4"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {**_X264, "x264-params": "tff=1"}),
        ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme", "b": "8M"}),
    ],
)
def test_what_moves_is_seen_once(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    frames = read_frames(_write(tmp_path / name, codec, options))
    assert [frame.timestamp_ms for frame in frames] == pytest.approx([0, 40, 80, 120])
    for number, frame in enumerate(frames):
        dark, bright = _bars(frame, number)
        assert dark < 20 and bright > 235


def test_progressive_frames_stay_as_they_are(tmp_path: Path) -> None:
    frames = read_frames(_write(tmp_path / "a.mp4", "libx264", _X264, is_interlaced=False))
    for number, frame in enumerate(frames):
        np.testing.assert_allclose(frame.image, _moving(number), atol=60)
        assert np.abs(frame.image.astype(int) - _moving(number)).mean() < 3


def test_a_recording_whose_size_changes_goes_on(tmp_path: Path) -> None:
    for name, height in (("1.ts", 96), ("2.ts", 64)):
        options = {**_X264, "x264-params": "tff=1"}
        _write(tmp_path / name, "libx264", options, height=height)
    joined = tmp_path / "a.ts"
    joined.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    assert len(read_frames(joined)) == 8


def test_a_filter_that_fails_is_an_error_for_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "a.mp4", "libx264", {**_X264, "x264-params": "tff=1"})
    monkeypatch.setattr(deinterlacing, "_OPTIONS", "unknown=1")
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be deinterlaced: "):
        read_frames(path)
