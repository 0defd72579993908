"""Tests of task_bundle.media.video."""

import importlib.util
import os
import resource
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from films import read_frames

from task_bundle.errors import ImageError, VideoError
from task_bundle.media.video import Frame, Video, save_video


def _picture(brightness: int, height: int = 48, width: int = 64) -> npt.NDArray[np.uint8]:
    """Of one brightness; the upper left quarter is red, which tells turned frames."""
    picture = np.full((height, width, 3), brightness, np.uint8)
    picture[: height // 2, : width // 2] = (250, 0, 0)
    return picture


def _frames(brightnesses: list[int], fps: float = 25.0) -> Iterator[Frame]:
    for i, brightness in enumerate(brightnesses):
        yield Frame(_picture(brightness), 1000 * i / fps)


def _brightnesses(path: Path) -> list[int]:
    """To the nearest ten: the codec loses a little."""
    return [round(frame.image[40:, 50:].mean() / 10) * 10 for frame in read_frames(path)]


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    save_video(path, _frames([0, 50, 100, 150, 200]), 25)
    return path


def test_a_video_comes_back(video_file: Path) -> None:
    with Video(video_file) as video:
        assert video.fps == pytest.approx(25)
        assert video.frame_count == 5
        frames = list(video.frames())
    assert [frame.timestamp_ms for frame in frames] == pytest.approx([0, 40, 80, 120, 160])
    assert _brightnesses(video_file) == [0, 50, 100, 150, 200]
    assert frames[0].image.shape == (48, 64, 3) and frames[0].image.dtype == np.uint8
    # Red is still the first channel.
    np.testing.assert_allclose(frames[2].image[8, 8], (250, 0, 0), atol=12)


@pytest.mark.parametrize("color", [(90, 90, 90), (200, 200, 200), (180, 120, 90), (30, 60, 140)])
def test_colors_stay_however_often_a_video_is_written(
    tmp_path: Path, color: tuple[int, int, int]
) -> None:
    frames = [Frame(np.full((64, 64, 3), color, np.uint8), 40.0 * i) for i in range(3)]
    for generation in range(3):
        path = tmp_path / f"{generation}.mp4"
        save_video(path, frames, 25)
        frames = read_frames(path)
    assert np.abs(frames[1].image.astype(int) - color).max() <= 4


def test_frames_keep_their_times(tmp_path: Path) -> None:
    times = [1000.0, 1040.0, 1160.0, 1165.0, 1200.0, 601_200.0]
    brightnesses = [10, 60, 110, 160, 210, 30]
    frames = [Frame(_picture(b), t) for b, t in zip(brightnesses, times, strict=True)]
    frames[-1] = Frame(_picture(30), times[-1], 5000.0)
    save_video(tmp_path / "a.mp4", frames, 25)
    assert _brightnesses(tmp_path / "a.mp4") == brightnesses
    copied = read_frames(tmp_path / "a.mp4")
    assert [frame.timestamp_ms + 1000 for frame in copied] == pytest.approx(times, abs=0.02)
    assert copied[-1].duration_ms == pytest.approx(5000)


@pytest.mark.parametrize("fps", [0.4, 12.5, 23.976, 29.97, 59.94, 119.883, 240.0, 500.0])
def test_no_frame_of_a_steady_video_is_lost_or_repeated(tmp_path: Path, fps: float) -> None:
    save_video(tmp_path / "a.mp4", _frames(list(range(0, 200, 4)), fps), fps)
    with Video(tmp_path / "a.mp4") as video:
        save_video(tmp_path / "b.mp4", video.frames(), video.fps)
    with Video(tmp_path / "b.mp4") as video:
        assert video.frame_count == 50
        assert video.fps == pytest.approx(fps, rel=1e-4)


def test_a_phones_rotation_is_applied(video_file: Path) -> None:
    # What phones do: the frames lie, and the track's matrix says how to turn them.
    data = bytearray(video_file.read_bytes())
    header = data.index(b"tkhd") + 4
    assert data[header] == 0
    matrix = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 2**30)
    data[header + 40 : header + 76] = matrix
    video_file.write_bytes(data)
    frame = read_frames(video_file)[2]
    assert frame.image.shape == (64, 48, 3)
    np.testing.assert_allclose(frame.image[8, 40], (250, 0, 0), atol=12)
    np.testing.assert_allclose(frame.image[8, 8], (100, 100, 100), atol=12)


def test_a_mirrored_video_is_applied_too(video_file: Path) -> None:
    data = bytearray(video_file.read_bytes())
    header = data.index(b"tkhd") + 4
    data[header + 40 : header + 76] = struct.pack(">9i", -65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    video_file.write_bytes(data)
    frame = read_frames(video_file)[2]
    np.testing.assert_allclose(frame.image[8, 56], (250, 0, 0), atol=12)
    np.testing.assert_allclose(frame.image[8, 8], (100, 100, 100), atol=12)


def test_a_file_without_times(tmp_path: Path) -> None:
    path = tmp_path / "a.m4v"
    with av.open(str(path), "w", "m4v") as output:
        stream = output.add_stream("mpeg4", 25, width=64, height=48)
        for brightness in (10, 60, 110, 160):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(_picture(brightness), "rgb24")))
        output.mux(stream.encode(None))
    assert _brightnesses(path) == [10, 60, 110, 160]
    assert np.diff([frame.timestamp_ms for frame in read_frames(path)]) == pytest.approx(40)


@pytest.mark.parametrize(
    "aspect, size", [("64:45", (576, 1024)), ("16:15", (576, 768)), ("1:2", (1152, 720))]
)
def test_pixels_become_square(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", 25, width=720, height=576)
        stream.codec_context.sample_aspect_ratio = Fraction(*map(int, aspect.split(":")))
        picture = av.VideoFrame.from_ndarray(_picture(90, 576, 720), "rgb24")
        output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    (frame,) = read_frames(path)
    assert frame.image.shape == (*size, 3)
    save_video(tmp_path / "b.mp4", [frame], 25)
    assert read_frames(tmp_path / "b.mp4")[0].image.shape == (*size, 3)


def _linear_bt2020(color: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Of a color of BT.709, with the matrix of ITU-R BT.2087 and the gamma of BT.1886."""
    matrix = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    return np.asarray(matrix @ (np.array(color) / 255) ** 2.4)


def _hlg(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The signal of ITU-R BT.2100 for a display of 1000 cd/m2 of which white paper has 203."""
    display = light * 0.203
    luminance = display @ [0.2627, 0.6780, 0.0593]
    scene = display * luminance ** (1 / 1.2 - 1)
    logarithm = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


def _pq(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    power = (light * 0.0203) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def _gamma(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return light ** (1 / 2.4)


# Names of the transfer functions, and their numbers in ITU-T H.273.
@pytest.mark.parametrize("encode, transfer", [(_hlg, 18), (_pq, 16), (_gamma, 14)])
@pytest.mark.parametrize("color", [(200, 200, 200), (30, 60, 200), (190, 60, 40), (150, 110, 90)])
def test_ten_bits_of_bt2020_become_the_colors_of_ordinary_screens(
    tmp_path: Path,
    encode: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    transfer: int,
    color: tuple[int, int, int],
) -> None:
    red, green, blue = encode(_linear_bt2020(color))
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    levels = (
        64 + 876 * luma,
        512 + 896 * (blue - luma) / 1.8814,
        512 + 896 * (red - luma) / 1.4746,
    )
    picture = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, level in zip(picture.planes, levels, strict=True):
        plane.update(np.full(plane.buffer_size // 2, round(level), np.uint16).tobytes())
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", 25, width=64, height=64, pix_fmt="yuv420p10le")
        context = stream.codec_context
        context.color_primaries, context.colorspace, context.color_range = 9, 9, 1
        context.color_trc = transfer
        output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    (frame,) = read_frames(path)
    assert np.abs(frame.image[32, 32].astype(int) - color).max() <= 6


def test_colors_that_cannot_be_converted_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", 25, width=64, height=64, pix_fmt="yuv420p10le")
        stream.codec_context.colorspace = 14
        output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p10le")))
        output.mux(stream.encode(None))
    assert len(read_frames(path)) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: its colors are coded with matrix 14 of ITU-T H.273, which is not supported: they"
        " will be wrong"
    ]


def test_a_frame_lost_where_recordings_were_joined_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recordings = []
    for width, height in ((64, 48), (96, 64), (96, 64)):
        path = tmp_path / "one.ts"
        with av.open(str(path), "w") as output:
            stream = output.add_stream(
                "mpeg2video", 25, width=width, height=height, pix_fmt="yuv420p"
            )
            for i in range(6):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 * i, np.uint8))
                frame.pts = i
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        recordings.append(path.read_bytes())
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(recordings[1:]))
    assert len(read_frames(path)) == 12 and not caplog.records
    path.write_bytes(b"".join(recordings[:2]))
    count = len(read_frames(path))
    messages = [record.getMessage() for record in caplog.records]
    if count < 12:
        assert f"{path}: {12 - count} of 12 frames cannot be decoded and are missing" in messages
    else:
        assert not messages


def test_frames_that_cannot_be_decoded_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    save_video(path, (Frame(picture, 40.0 * i) for i, picture in enumerate(noise)), 25)
    # The index comes first, so that a file that was cut still opens.
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    count = len(read_frames(path))
    assert 10 < count < 25
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: {30 - count} of 30 frames cannot be decoded and are missing"
    ]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mov", "png", "rgba"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
    ],
)
def test_what_is_transparent_is_white(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    picture = np.full((64, 64, 4), (200, 40, 40, 255), np.uint8)
    picture[:32] = 0
    with av.open(tmp_path / name, "w") as output:
        stream = output.add_stream(codec, 25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixels
        if name.endswith(".webm"):
            stream.metadata["alpha_mode"] = "1"
        frame = av.VideoFrame.from_ndarray(picture, "rgba").reformat(format=pixels)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with Video(tmp_path / name) as video:
        (frame,) = video.frames()
    np.testing.assert_allclose(frame.image[16], 255, atol=2)
    np.testing.assert_allclose(frame.image[48, 32], (200, 40, 40), atol=6)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x14ftypisom\0\0\2\0isom\0\0\x40\0mdat" + bytes(500), "was cut off: the list of"),
        (b"%PDF-1.4", "is not a video .*: it is a PDF"),
        (b"<html>404</html>", "is not a video in a known format, or is damaged: it is a web page"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "is a list of other files"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, video_file: Path, content: bytes, told: str
) -> None:
    video_file.rename(tmp_path / "other.mp4")
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=rf"a\.mp4 {told}"):
        Video(tmp_path / "a.mp4")


def test_without_pyav_the_extra_is_named(
    tmp_path: Path, video_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "av" else find(name, *a)
    )
    told = r"mp4: videos need PyAV, which is not installed; pip install 'mm-face-stylizer\[video\]'"
    with pytest.raises(VideoError, match=told):
        Video(video_file)
    with pytest.raises(VideoError, match=told):
        save_video(tmp_path / "new.mp4", [], 25)


def test_odd_sides_lose_a_pixel(tmp_path: Path) -> None:
    picture = _picture(90, 49, 65)
    save_video(tmp_path / "a.mp4", [Frame(picture, 0.0)], 25)
    (frame,) = read_frames(tmp_path / "a.mp4")
    assert frame.image.shape == (48, 64, 3)
    assert np.abs(frame.image.astype(int) - picture[:48, :64]).mean() < 6


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ImageError("no")])
@pytest.mark.parametrize("old", [False, True])
def test_failure_leaves_nothing_behind(tmp_path: Path, kind: BaseException, old: bool) -> None:
    path = tmp_path / "a.mp4"
    if old:
        path.write_bytes(b"old")

    def interrupted() -> Iterator[Frame]:
        yield from _frames([1, 2, 3])
        assert len(os.listdir(tmp_path)) == 1 + old
        raise kind

    with pytest.raises((KeyboardInterrupt, ImageError)):
        save_video(path, interrupted(), 25, overwrite=old)
    assert os.listdir(tmp_path) == (["a.mp4"] if old else [])
    assert not old or path.read_bytes() == b"old"


def test_it_refuses_to_overwrite(video_file: Path) -> None:
    before = video_file.read_bytes()

    def never() -> Iterator[Frame]:
        pytest.fail("no frame must be asked for")
        yield

    with pytest.raises(FileExistsError, match=r"in\.mp4"):
        save_video(video_file, never(), 25)
    assert video_file.read_bytes() == before
    save_video(video_file, _frames([70]), 25, overwrite=True)
    assert _brightnesses(video_file) == [70]


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 240, 320, 3), np.uint8)
    frames = (Frame(picture, 40.0 * i) for i, picture in enumerate(noise))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(VideoError, match=r"a\.mp4: File too large"):
            save_video(tmp_path / "a.mp4", frames, 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_other_files_are_refused(tmp_path: Path, video_file: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "cut.mp4").write_bytes(video_file.read_bytes()[:500])
    (tmp_path / "folder.mp4").mkdir()
    for name, reason in (
        ("none.mp4", "does not exist"),
        ("folder.mp4", "is not a file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "not a video"),
        ("cut.mp4", "not a video"),
    ):
        with pytest.raises(VideoError, match=f"{name} .*{reason}"):
            Video(tmp_path / name)
    # Only the index is left.
    (tmp_path / "cut.mp4").write_bytes(video_file.read_bytes()[:1000])
    with pytest.raises(VideoError, match=r"cut\.mp4 has no frames"):
        read_frames(tmp_path / "cut.mp4")


def test_a_file_that_was_cut_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", 25, width=64, height=48, pix_fmt="yuvj420p")
        for _ in range(50):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(_picture(90), "rgb24")))
        output.mux(stream.encode(None))
    assert len(read_frames(path)) == 50 and not caplog.records
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    count = len(read_frames(path))
    assert 15 < count < 30
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: the file is damaged or was cut: it lasts for {count / 25:.1f} s instead of 2.0 s,"
        f" and about {50 - count} frames are missing"
    ]


def test_pauses_of_hours_and_months(tmp_path: Path) -> None:
    hour = 3.6e6
    times = [0.0, 40.0, 11.5 * hour, 11.5 * hour + 40]
    frames = [Frame(_picture(50 + 50 * i), time) for i, time in enumerate(times)]
    save_video(tmp_path / "a.mp4", frames, 25)
    copied = read_frames(tmp_path / "a.mp4")
    # In a pause for which MP4 has no number, the frame is repeated.
    assert len(copied) == 4 + 11
    assert [round(frame.image[40:, 50:].mean() / 10) for frame in copied] == [5, *[10] * 12, 15, 20]
    assert copied[-2].timestamp_ms == pytest.approx(11.5 * hour, abs=1)
    frames.append(Frame(_picture(50), 1e15))
    with pytest.raises(VideoError, match=r"b\.mp4: it would show one frame for \d+ hours"):
        save_video(tmp_path / "b.mp4", frames, 25)


@pytest.mark.parametrize("name", [b"\xe9t\xe9.mp4", "\u5199\u771f \u00e9.mp4".encode(), b"a:b.mp4"])
def test_file_names_may_have_any_characters(tmp_path: Path, video_file: Path, name: bytes) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    folder.mkdir()
    path = folder / os.fsdecode(name)
    with Video(video_file) as video:
        save_video(path, video.frames(), 25, sound_of=video_file)
    assert _brightnesses(path) == [0, 50, 100, 150, 200]
    assert os.listdir(folder) == [path.name]


def test_frames_that_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    with pytest.raises(VideoError, match=r"no frames for .*a\.mp4"):
        save_video(target, [], 25)
    with pytest.raises(VideoError, match="one size"):
        save_video(target, [Frame(_picture(0), 0.0), Frame(_picture(0, 20, 20), 40.0)], 25)
    with pytest.raises(VideoError, match="1 x 48"):
        save_video(target, [Frame(_picture(0, 48, 1), 0.0)], 25)
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rate"):
            save_video(target, _frames([1]), fps)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save_video(tmp_path / "nowhere" / "a.mp4", _frames([1]), 25)
    assert os.listdir(tmp_path) == []
