"""Tests of task_bundle.media.video."""

import os
import resource
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

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


def _read(path: Path) -> list[Frame]:
    with Video(path) as video:
        return list(video.frames())


def _brightnesses(path: Path) -> list[int]:
    """To the nearest ten: the codec loses a little."""
    return [round(frame.image[40:, 50:].mean() / 10) * 10 for frame in _read(path)]


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


@pytest.mark.parametrize("colour", [(90, 90, 90), (200, 200, 200), (180, 120, 90), (30, 60, 140)])
def test_colours_stay_however_often_a_video_is_written(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    frames = [Frame(np.full((64, 64, 3), colour, np.uint8), 40.0 * i) for i in range(3)]
    for generation in range(3):
        path = tmp_path / f"{generation}.mp4"
        save_video(path, frames, 25)
        frames = _read(path)
    assert np.abs(frames[1].image.astype(int) - colour).max() <= 4


def test_frames_keep_their_times(tmp_path: Path) -> None:
    pictures = [_picture(b) for b in (10, 60, 110, 160, 210)]
    times = (1000.0, 1040.0, 1160.0, 1165.0, 1200.0)
    frames = (Frame(p, t) for p, t in zip(pictures, times, strict=True))
    save_video(tmp_path / "a.mp4", frames, 25)
    # The second lasts for three frames, and the third gives way to the fourth at once.
    assert _brightnesses(tmp_path / "a.mp4") == [10, 60, 60, 60, 160, 210]


@pytest.mark.parametrize("fps", [12.5, 23.976, 29.97, 30.0, 59.94, 120.0])
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
    frame = _read(video_file)[2]
    assert frame.image.shape == (64, 48, 3)
    np.testing.assert_allclose(frame.image[8, 40], (250, 0, 0), atol=12)
    np.testing.assert_allclose(frame.image[8, 8], (100, 100, 100), atol=12)


def test_a_clock_that_stands_still_does_not_stop_the_video(
    video_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Video(video_file) as video:
        monkeypatch.setattr(video, "_clock", 10**6)  # No such property: always the same value.
        times = [frame.timestamp_ms for frame in video.frames()]
    assert np.diff(times) == pytest.approx(40)


def test_odd_sizes(tmp_path: Path) -> None:
    picture = _picture(90, 49, 65)
    save_video(tmp_path / "a.mp4", [Frame(picture, 0.0)], 25)
    (frame,) = _read(tmp_path / "a.mp4")
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
        with pytest.raises(VideoError, match=r"a\.mp4.*disk full"):
            save_video(tmp_path / "a.mp4", frames, 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_what_is_no_video(tmp_path: Path, video_file: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "cut.mp4").write_bytes(video_file.read_bytes()[:800])
    (tmp_path / "folder.mp4").mkdir()
    for name, reason in (
        ("none.mp4", "does not exist"),
        ("folder.mp4", "is not a file"),
        ("empty.mp4", "not a video"),
        ("text.mp4", "not a video"),
        ("cut.mp4", "not a video"),
    ):
        with pytest.raises(VideoError, match=f"{name} .*{reason}"):
            Video(tmp_path / name)


def test_names_that_are_not_utf8(tmp_path: Path, video_file: Path) -> None:
    foreign = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9"))
    foreign.mkdir()
    os.link(video_file, foreign / "a.mp4")
    os.link(video_file, Path(f"{foreign}.mp4"))
    link = tmp_path / "link"
    link.symlink_to(foreign)
    for path in (foreign / "a.mp4", Path(f"{foreign}.mp4")):
        with pytest.raises(VideoError, match="not UTF-8"):
            Video(path)
        with pytest.raises(VideoError, match="not UTF-8"):
            save_video(path, _frames([1]), 25, overwrite=True)
    assert len(_read(link / "a.mp4")) == 5
    with pytest.raises(VideoError, match="not UTF-8"):
        save_video(link / "b.mp4", _frames([1]), 25)
    assert os.listdir(foreign) == ["a.mp4"]
    # Names of other scripts are fine.
    os.link(video_file, tmp_path / "\u5199\u771f \u00e9.mp4")
    assert len(_read(tmp_path / "\u5199\u771f \u00e9.mp4")) == 5


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


MakeFfmpeg = Callable[[str], Path]


@pytest.fixture
def make_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFfmpeg:
    """Returns a function that puts a stand-in for ffmpeg on the PATH and gives the log it writes.

    It refuses sound codecs that are not in its argument; else it copies its first input and adds a
    free-space box that tells the result from the input.
    """

    def make(codecs: str) -> Path:
        folder, log = tmp_path / "bin", tmp_path / "log"
        folder.mkdir()
        program = folder / "ffmpeg"
        program.write_text(
            f"#!{sys.executable}\n"
            "import sys\n"
            "arguments = sys.argv[1:]\n"
            f"open({str(log)!r}, 'a').write('\\0'.join(arguments) + '\\n')\n"
            "name = lambda text: text.removeprefix('file:')\n"
            "data = open(name(arguments[arguments.index('-i') + 1]), 'rb').read()\n"
            "open(name(arguments[-1]), 'wb').write(data + b'\\0\\0\\0\\x0dfreesound')\n"
            f"sys.exit(arguments[arguments.index('-c:a') + 1] not in {codecs.split()!r})\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))
        return log

    return make


def _calls(log: Path) -> list[list[str]]:
    return [line.split("\0") for line in log.read_text().splitlines()]


def test_sound_is_copied_by_ffmpeg(
    make_ffmpeg: MakeFfmpeg, video_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_ffmpeg("copy")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    assert save_video("out/a.mp4", _frames([50, 100]), 25, sound_of="in.mp4")
    assert (tmp_path / "out" / "a.mp4").read_bytes().endswith(b"freesound")
    assert _brightnesses(tmp_path / "out" / "a.mp4") == [50, 100]
    assert os.listdir(tmp_path / "out") == ["a.mp4"]
    (call,) = _calls(log)
    silent, joined = call[call.index("-i") + 1], call[-1]
    assert silent.startswith(f"file:{tmp_path}/out/.a.mp4.") and silent != joined
    assert joined.startswith(f"file:{tmp_path}/out/.a.mp4.") and joined.endswith(".mp4")
    assert call == [
        *("-nostdin", "-v", "error", "-y", "-i", silent, "-i", f"file:{tmp_path}/in.mp4"),
        *("-map", "0:v:0", "-map", "1:a?", "-c:v", "copy", "-c:a", "copy"),
        *("-movflags", "+faststart", joined),
    ]


def test_sound_that_mp4_cannot_hold_is_encoded_anew(
    make_ffmpeg: MakeFfmpeg, video_file: Path, tmp_path: Path
) -> None:
    log = make_ffmpeg("aac")
    assert save_video(tmp_path / "a.mp4", _frames([50]), 25, sound_of=video_file)
    assert (tmp_path / "a.mp4").read_bytes().endswith(b"freesound")
    assert [call[call.index("-c:a") + 1] for call in _calls(log)] == ["copy", "aac"]


def test_without_a_working_ffmpeg_the_video_is_silent(
    make_ffmpeg: MakeFfmpeg, video_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ffmpeg("none")
    assert not save_video(tmp_path / "a.mp4", _frames([50]), 25, sound_of=video_file)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert not save_video(tmp_path / "b.mp4", _frames([50]), 25, sound_of=video_file)
    assert save_video(tmp_path / "c.mp4", _frames([50]), 25)
    for name in "abc":
        assert _brightnesses(tmp_path / f"{name}.mp4") == [50]
    assert sorted(p.name for p in tmp_path.glob("*.mp4*")) == ["a.mp4", "b.mp4", "c.mp4", "in.mp4"]
    assert not list(tmp_path.glob(".*"))
