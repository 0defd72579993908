"""Tests of task_bundle.media.sound: the sound of videos that are written."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from films import read_frames

from task_bundle.media.video import Frame, Video, save_video


def _picture(brightness: int) -> npt.NDArray[np.uint8]:
    return np.full((48, 64, 3), brightness, np.uint8)


def _frames(brightnesses: list[int], fps: float = 25.0) -> Iterator[Frame]:
    for i, brightness in enumerate(brightnesses):
        yield Frame(_picture(brightness), 1000 * i / fps)


def _brightnesses(path: Path) -> list[int]:
    """To the nearest ten: the codec loses a little."""
    return [round(frame.image.mean() / 10) * 10 for frame in read_frames(path)]


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    save_video(path, _frames([0, 50, 100, 150, 200]), 25)
    return path


def _write_sound(
    path: Path,
    codecs: Sequence[str],
    delay: float = 0.0,
    rate: int = 48000,
    layout: str = "mono",
) -> Path:
    """Writes a video of three seconds, 10 frames a second, with sound of the same length.

    Args:
      path: the file to write.
      codecs: names of FFmpeg's encoders, one for each sound track.
      delay: by how many seconds the pictures begin after the sound.
      rate: samples a second.
      layout: FFmpeg's name of the channels.
    """
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", 10, width=64, height=48)
        stream.codec_context.time_base = Fraction(1, 1000)
        tracks = [output.add_stream(codec, rate) for codec in codecs]
        for track in tracks:
            track.codec_context.layout = layout
        for track in tracks:
            for start in range(0, 3 * rate, 1000):
                wave = np.sin(np.arange(start, start + 1000) * (2 * np.pi * 440 / rate)) * 0.5
                wave = np.tile(wave, (len(tracks[0].codec_context.layout.channels), 1))
                sound = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", layout)
                sound.sample_rate, sound.pts, sound.time_base = rate, start, Fraction(1, rate)
                output.mux(track.encode(sound))
            output.mux(track.encode(None))
        for index in range(30):
            picture = av.VideoFrame.from_ndarray(_picture(50), "rgb24")
            picture.pts, picture.time_base = round(1000 * delay) + 100 * index, Fraction(1, 1000)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def _sound(path: Path) -> list[tuple[str, float, float]]:
    """Returns codec, start and end in seconds of each sound track."""
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    tracks = []
    for index in range(count):
        with av.open(str(path)) as container:
            stream = container.streams.audio[index]
            times = [frame.time for frame in container.decode(stream)]
            tracks.append((stream.codec.name, times[0], times[-1]))
    return tracks


def _copy(source: Path, target: Path) -> None:
    with Video(source) as video:
        save_video(target, video.frames(), video.fps, sound_of=source)


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_sound_is_copied_and_stays_in_step(
    tmp_path: Path, name: str, delay: float, caplog: pytest.LogCaptureFixture
) -> None:
    source = _write_sound(tmp_path / name, ["aac"], delay)
    _copy(source, tmp_path / "out.mp4")
    ((codec, start, end),) = _sound(tmp_path / "out.mp4")
    assert codec == "aac"
    assert start == pytest.approx(0, abs=0.03) and end == pytest.approx(3, abs=0.07)
    times = [frame.timestamp_ms for frame in read_frames(tmp_path / "out.mp4")]
    assert times == pytest.approx([1000 * delay + 100 * i for i in range(30)], abs=30)
    assert times == pytest.approx([frame.timestamp_ms for frame in read_frames(source)], abs=0.02)
    assert _messages(caplog) == []


@pytest.mark.parametrize("codec", ["aac", "ac3"])
def test_recordings_that_were_joined_go_on(
    tmp_path: Path, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The clock of each part begins anew.
    part = _write_sound(tmp_path / "a.ts", [codec]).read_bytes()
    (tmp_path / "a.ts").write_bytes(3 * part)
    times = [frame.timestamp_ms for frame in read_frames(tmp_path / "a.ts")]
    assert len(times) == 90
    steps = np.diff(times)
    assert np.median(steps) == pytest.approx(100) and min(steps) > 50 and max(steps) < 200
    _copy(tmp_path / "a.ts", tmp_path / "out.mp4")
    ((_, start, end),) = _sound(tmp_path / "out.mp4")
    assert start == pytest.approx(0, abs=0.05) and end == pytest.approx(9, abs=0.2)
    assert len(read_frames(tmp_path / "out.mp4")) == 90
    assert _messages(caplog) == []


def test_sound_that_mp4_cannot_hold_is_encoded_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = _write_sound(tmp_path / "a.mkv", ["wavpack", "libopus", "pcm_s24le"])
    _copy(source, tmp_path / "out.mp4")
    tracks = _sound(tmp_path / "out.mp4")
    assert [codec for codec, _, _ in tracks] == ["aac", "opus", "pcm_s24le"]
    for _, start, end in tracks:
        assert start == pytest.approx(0, abs=0.05) and end == pytest.approx(3, abs=0.1)
    assert _messages(caplog) == []


@pytest.mark.parametrize(
    "codec, layout, rate, expected",
    [
        ("wavpack", "5.1(side)", 48000, ("5.1", 48000)),
        ("wavpack", "quad", 88200, ("stereo", 48000)),
    ],
)
def test_sound_with_many_channels_and_samples_is_encoded_anew(
    tmp_path: Path, codec: str, layout: str, rate: int, expected: tuple[str, int]
) -> None:
    source = _write_sound(tmp_path / "a.mkv", [codec], rate=rate, layout=layout)
    _copy(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        (stream,) = container.streams.audio
        assert (stream.layout.name, stream.rate) == expected


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
def test_samples_without_a_layout_of_channels_are_encoded_anew(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the AVI files of cameras, and in Matroska."""
    source = _write_sound(tmp_path / name, ["pcm_s16le"], layout="stereo")
    _copy(source, tmp_path / "out.mp4")
    ((codec, start, end),) = _sound(tmp_path / "out.mp4")
    assert codec == "aac" and start == pytest.approx(0, abs=0.05)
    assert end == pytest.approx(3, abs=0.1)
    assert len(read_frames(tmp_path / "out.mp4")) == 30
    assert _messages(caplog) == []


def test_a_track_that_is_unknown_does_not_silence_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = _write_sound(tmp_path / "a.mp4", ["aac", "alac"])
    data = source.read_bytes()
    # A format of a later year, like the spatial audio of new phones.
    place = data.index(b"alac", data.index(b"stsd"))
    source.write_bytes(data[:place] + b"zzzz" + data[place + 4 :])
    _copy(source, tmp_path / "out.mp4")
    assert [codec for codec, _, _ in _sound(tmp_path / "out.mp4")] == ["aac"]
    assert _messages(caplog) == [
        f"{source}: sound track 2 is left out: FFmpeg does not know its format"
    ]


def test_sound_that_is_damaged_is_told_in_the_words_of_ffmpeg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = _write_sound(tmp_path / "a.mkv", ["flac", "wavpack"])
    data = source.read_bytes()
    with av.open(str(source)) as container:
        (track,) = [s for s in container.streams.audio if s.codec.name == "wavpack"]
        packets = [bytes(packet) for packet in container.demux(track) if packet.size]
    # Matroska stores these packets without their first 32 bytes. All but the first sound the same.
    damaged = packets[1][32:]
    source.write_bytes(data.replace(damaged, b"\xff" * len(damaged)))
    _copy(source, tmp_path / "out.mp4")
    assert [codec for codec, _, _ in _sound(tmp_path / "out.mp4")] == ["flac", "aac"]
    assert _messages(caplog) == [
        f"{source}: {len(packets) - 1} packets of sound track 2 are missing: Invalid data found"
        " when processing input"
    ]


def test_a_video_without_sound_needs_no_word(
    video_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _copy(video_file, tmp_path / "out.mp4")
    assert _sound(tmp_path / "out.mp4") == [] and _messages(caplog) == []
    assert _brightnesses(tmp_path / "out.mp4") == [0, 50, 100, 150, 200]


def test_sound_of_a_file_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_video(tmp_path / "a.mp4", _frames([50]), 25, sound_of=tmp_path / "none.mp4")
    assert _brightnesses(tmp_path / "a.mp4") == [50]
    assert _messages(caplog) == [
        f"{tmp_path}/none.mp4: its sound cannot be read: No such file or directory"
    ]


def test_a_pause_loses_no_picture_and_no_sound(tmp_path: Path) -> None:
    source = _write_sound(tmp_path / "a.mkv", ["aac"])
    times = [*(100.0 * i for i in range(40)), *(600_000 + 100.0 * i for i in range(40))]
    frames = (Frame(_picture(50 + i), t) for i, t in enumerate(times))
    save_video(tmp_path / "b.mp4", frames, 20, sound_of=source)
    copied = read_frames(tmp_path / "b.mp4")
    assert [frame.timestamp_ms for frame in copied] == pytest.approx(times, abs=0.02)
    assert len(_sound(tmp_path / "b.mp4")) == 1
