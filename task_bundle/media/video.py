"""Reads videos frame by frame, and writes videos with the sound of another video.

FFmpeg's libraries, which PyAV contains, do the work; the program ffmpeg is not needed. PyAV comes
with the extra `video` of the distribution.
"""

import contextlib
import importlib.util
import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from task_bundle.errors import VideoError
from task_bundle.files import atomic_path
from task_bundle.media.deinterlacing import deinterlaced
from task_bundle.media.file_kinds import problem_of_video
from task_bundle.media.images import check_image
from task_bundle.media.sound import SoundTracks
from task_bundle.media.source_type import append_to_mp4
from task_bundle.media.stream_clock import StreamClock
from task_bundle.media.video_colors import ColorConversion

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

_FALLBACK_FPS = 30.0
# Formats of text files that make FFmpeg open other files. A server must not be made to read its
# own.
_PLAYLISTS = frozenset(("concat", "dash", "hls", "imf"))
# A pixel aspect ratio above this, or below its reciprocal, is taken for damage. Anamorphic films
# have ratios of up to 2.
_MAX_PIXEL_ASPECT = 4
# Formats, apart from MP4, whose files state their duration. For other formats FFmpeg estimates the
# duration from the content of the file, which says nothing about missing parts. The stated duration
# may be wrong by a few frames.
_FORMATS_WITH_DURATION = frozenset(("matroska,webm", "avi", "asf", "flv"))
_DURATION_ERROR_MS = 300.0
# Formats whose packets are one frame each. FFmpeg's decoder of both loses the last frame before the
# size changes, as where recordings were joined, without an error.
_FRAME_PER_PACKET = ("mpeg1video", "mpeg2video")
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# FFmpeg decodes with at most this many threads, each of which holds a frame.
_THREADS = 4
# Resolution of the timestamps in written videos. It represents the times of frames at all usual
# rates, such as 24000/1001 and 120000/1001 per second, to within 10 microseconds.
_TICKS_PER_MS = 60
_TIME_BASE = Fraction(1, 1000 * _TICKS_PER_MS)
# MP4 cannot store much longer pauses between frames, so during a pause the last frame is repeated
# every hour. A pause of more than a month is taken for a damaged timestamp.
_LONGEST_PAUSE = 3600 * _TIME_BASE.denominator
_LONGEST_PAUSES = 31 * 24
# `faststart` puts the index first, so that browsers can play a file while it loads.
# `movie_timescale` stores the beginning of a track that starts late with the resolution of the
# timestamps instead of milliseconds.
_MP4_OPTIONS = {"movflags": "+faststart", "movie_timescale": str(_TIME_BASE.denominator)}
# Encoders and their options, in order of preference. PyAV's wheels have the first; other builds of
# FFmpeg have at least the second.
_ENCODERS = (("libx264", {"crf": "18", "preset": "veryfast"}), ("mpeg4", {"qscale": "3"}))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video.

    Attributes:
      image: [height, width, 3] uint8 RGB, upright, with square pixels, over white where the video
        is transparent.
      timestamp_ms: when the frame is shown, in milliseconds from the start of the video; greater
        than the timestamp of the previous frame. If the sound begins first, that is the start.
      duration_ms: for how long the frame is shown, or None if that is not known. Used for the last
        frame of a video; others are shown until the next.
    """

    image: npt.NDArray[np.uint8]
    timestamp_ms: float
    duration_ms: float | None = None


class Video:
    """A video file opened for reading. Use it in a `with` statement, or call `close`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the file.

        Args:
          path: a video in any format that FFmpeg reads.

        Raises:
          VideoError: the file is missing, not a file, or not a video that FFmpeg reads, or PyAV is
            not installed. The message names the file.
        """
        self.path = Path(path)
        _check_dependency(self.path)
        if not self.path.is_file():
            wrong = "is not a file" if self.path.exists() else "does not exist"
            raise VideoError(f"{self.path} {wrong}")
        self._container = _open(self.path)
        try:
            self._stream = self._picture_track()
        except BaseException:
            self._container.close()
            raise
        # The microseconds at which the first track of the file begins.
        self._start_ms = (self._container.start_time or 0) / 1000
        rate = self._stream.average_rate or self._stream.guessed_rate
        self._fps = float(rate) if rate and rate > 0 else _FALLBACK_FPS

    @property
    def fps(self) -> float:
        """Frames per second, on average; 30 if the file does not state it."""
        return self._fps

    @property
    def frame_count(self) -> int | None:
        """Approximate number of frames, or None if the file does not state it."""
        if self._stream.frames > 0:
            return self._stream.frames
        duration = self._container.duration
        return round(duration / 1e6 * self._fps) if duration and duration > 0 else None

    def frames(self) -> Iterator[Frame]:
        """Yields the frames, upright and with square pixels; can be called once.

        Interlaced frames are deinterlaced.
        Videos with a large color space or range (BT.2020, Display P3, HLG, PQ) are converted to
        that of ordinary screens. If frames cannot be decoded, a warning with their number is
        logged.

        Raises:
          VideoError: no frame can be decoded.
        """
        import av

        step = 1000 / self._fps
        previous = None
        converter = None
        decoded = _Decoded(self._container, self._stream)
        for frame in self._deinterlaced(decoded):
            converter = converter or self._converter(frame)
            try:
                image = converter.convert(frame)
            except av.FFmpegError as error:
                raise VideoError(f"{self.path} cannot be converted: {error.strerror}") from error
            time_base = frame.time_base or self._stream.time_base or Fraction(1, 1000)
            milliseconds = 1000 * time_base
            timestamp = None
            if frame.pts is not None:
                timestamp = float(frame.pts * milliseconds) - self._start_ms
            if timestamp is None or (previous is not None and not timestamp > previous):
                # Some containers store no timestamps, so frames follow each other at the usual
                # distance.
                timestamp = 0.0 if previous is None else previous + step
            previous = timestamp
            duration = float(frame.duration * milliseconds) if frame.duration else None
            yield Frame(image, timestamp, duration)
        if previous is None:
            raise VideoError(f"{self.path} has no frames that can be decoded")
        if decoded.missing:
            _log.warning(
                "%s: %d of %d frames cannot be decoded and are missing",
                *(self.path, decoded.missing, decoded.missing + decoded.count),
            )
        elif self._is_cut_at(decoded.end_ms):
            _log.warning(
                "%s: the file is damaged or was cut: it lasts for %.1f s instead of %.1f s, and"
                " about %d frames are missing",
                *(self.path, decoded.end_ms / 1000, self._stated_ms / 1000),
                round((self._stated_ms - decoded.end_ms) / step),
            )

    def _deinterlaced(self, decoded: "_Decoded") -> "Iterator[VideoFrame]":
        import av

        try:
            yield from deinterlaced(decoded, self._stream)
        except av.FFmpegError as error:
            raise VideoError(f"{self.path} cannot be deinterlaced: {error.strerror}") from error

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __enter__(self) -> Self:
        """Returns the video itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()

    @property
    def _stated_ms(self) -> float:
        return (self._container.duration or 0) / 1000

    def _is_cut_at(self, end_ms: float) -> bool:
        states_duration = self._container.format.name in _FORMATS_WITH_DURATION
        return states_duration and end_ms + _DURATION_ERROR_MS < self._stated_ms

    def _picture_track(self) -> "VideoStream":
        from av.stream import Disposition

        # Music files have their cover as a video of one frame.
        tracks = [
            track
            for track in self._container.streams.video
            if not track.disposition & Disposition.attached_pic
        ]
        if not tracks:
            raise VideoError(f"{self.path} is not a video: it has no pictures that move")
        best = self._container.streams.best("video")
        stream = next((track for track in tracks if track is best), tracks[0])
        if stream.codec_context is None:
            raise VideoError(f"{self.path}: FFmpeg has no decoder for its video, or it is damaged")
        stream.thread_type = "AUTO"
        stream.thread_count = _THREADS
        return stream

    def _converter(self, first: "VideoFrame") -> "_Converter":
        colors = ColorConversion.of(first)
        if colors.problem:
            _log.warning("%s: %s", self.path, colors.problem)
        size = _square_pixel_size(first, self._stream.sample_aspect_ratio)
        return _Converter(*size, colors, _Orientation.of(first))


class _Decoded:
    """The frames of a track; damaged ones are passed over.

    Attributes:
      count: number of frames so far.
      missing: number of frames that could not be decoded; known after the last frame.
      end_ms: end of the last frame or sound in milliseconds, on the clock of the file.
    """

    def __init__(self, container: "InputContainer", stream: "VideoStream") -> None:
        self._container, self._stream = container, stream
        self._decoder = _alpha_decoder(stream) or stream.codec_context
        self.count = self.missing = 0
        self.end_ms = 0.0

    def __iter__(self) -> "Iterator[VideoFrame]":
        import av

        failed = skipped = sent = 0
        streams = self._container.streams
        packets = self._container.demux(*streams.video, *streams.audio)
        clock = StreamClock(self._container)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                # FFmpeg raises an error at the end of a file that was cut.
                break
            clock.correct(packet)
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self.end_ms = max(self.end_ms, float(1000 * end))
            if packet.stream.index != self._stream.index:
                continue
            skipped += packet.is_discard
            sent += packet.size > 0
            try:
                frames = self._decoder.decode(cast("Packet[VideoStream]", packet))
            except av.FFmpegError:
                failed += 1
                continue
            for frame in frames:
                self.count += 1
                yield frame
        # The index of an MP4 file has the number of all its frames, even if the file was cut.
        stated = sent if self._stream.codec_context.name in _FRAME_PER_PACKET else 0
        if "mp4" in self._container.format.name.split(","):
            stated = self._stream.frames
        self.missing = max(failed, stated - skipped - self.count)


def _alpha_decoder(stream: "VideoStream") -> "VideoCodecContext | None":
    """Returns a decoder for the second, gray video that is the transparency of VP8 and VP9.

    FFmpeg's own decoders of these formats pass it over: what is transparent would be black.
    """
    import av

    name = _ALPHA_DECODERS.get(stream.codec_context.name)
    has_alpha = any(key.lower() == "alpha_mode" for key in stream.metadata)
    if not has_alpha or name not in av.codecs_available:
        return None
    decoder = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
    decoder.thread_count = _THREADS
    return decoder


@dataclass(frozen=True)
class _Orientation:
    """The rotation and mirroring that turn the frames of a phone upright."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of(cls, frame: "VideoFrame") -> "_Orientation":
        from av.sidedata.sidedata import Type

        # PyAV's annotation of this attribute is wrong.
        side_data: Any = frame.side_data
        try:
            matrix = np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)
        except KeyError:
            return cls()
        # x' = a x + c y and y' = b x + d y.
        a, b, _, c, d = matrix[:5].tolist()
        if abs(a) >= abs(b):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self.transpose:
            image = image.transpose(1, 0, 2)
        image = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(image)


@dataclass(frozen=True)
class _Converter:
    """Converts the frames of a video to upright pictures with square pixels.

    A frame of another size than the first, as in recordings of calls, is scaled to its size.
    """

    width: int
    height: int
    colors: ColorConversion
    orientation: _Orientation

    def convert(self, frame: "VideoFrame") -> npt.NDArray[np.uint8]:
        return self.orientation.apply(self.colors.to_rgb(frame, self.width, self.height))


def _square_pixel_size(frame: "VideoFrame", aspect: Fraction | None) -> tuple[int, int]:
    """Returns the width and height with square pixels; neither is less than before."""
    width, height = frame.width, frame.height
    if not aspect or not Fraction(1, _MAX_PIXEL_ASPECT) <= aspect <= _MAX_PIXEL_ASPECT:
        return width, height
    if aspect > 1:
        return 2 * round(width * aspect / 2), height
    if aspect < 1:
        return width, 2 * round(height / aspect / 2)
    return width, height


def _check_dependency(path: Path) -> None:
    if importlib.util.find_spec("av") is None:
        raise VideoError(
            f"{path}: videos need PyAV, which is not installed; pip install"
            " 'mm-face-stylizer[video]'"
        )


def _open(path: Path) -> "InputContainer":
    import av

    try:
        # The prefix keeps FFmpeg from taking a file name for a URL.
        container = av.open(f"file:{path.absolute()}", "r", metadata_errors="replace")
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error
    except av.FFmpegError as error:
        raise VideoError(f"{path} {problem_of_video(path)}") from error
    if container.format.name in _PLAYLISTS:
        container.close()
        raise VideoError(f"{path} is a list of other files and not a video; give these files")
    return container


def save_video(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    fps: float,
    sound_of: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    marked: bool = True,
) -> None:
    """Writes an MP4 video, atomically.

    If writing fails for any reason, including an exception in `frames` or a KeyboardInterrupt, an
    existing file at `path` is left unchanged. Every frame is shown at its timestamp; without sound
    the video begins with the first frame. The last column or row of pixels is dropped if the width
    or height is odd.

    Args:
      path: the file to write, usually named `*.mp4`. Its folder must exist.
      frames: at least one frame; all must have the same size.
      fps: frames per second, on average: how long the last frame is shown if it does not say.
      sound_of: a video whose sound tracks are copied, or encoded as AAC if MP4 does not hold their
        format. A warning is logged for each track for which neither is possible.
      overwrite: whether an existing file may be replaced.
      marked: whether metadata say that a trained network had a part in the video, as IPTC's
        DigitalSourceType in XMP.

    Raises:
      VideoError: there are no frames, they differ in size or have less than 2 x 2 pixels, the file
        cannot be written, for instance because the disk is full, or PyAV is not installed.
      FileExistsError: the file exists and `overwrite` is false.
      OSError: the file cannot be created.
      ValueError: `fps` is not positive.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"the frame rate must be positive, not {fps}")
    _check_dependency(Path(path))
    with atomic_path(path, overwrite, ".mp4") as temporary:
        _encode(temporary, Path(path), frames, fps, None if sound_of is None else Path(sound_of))
        if marked:
            with temporary.open("ab") as file:
                append_to_mp4(file)


def _encode(
    target: Path, name: Path, frames: Iterable[Frame], fps: float, sound_of: Path | None
) -> None:
    """Encodes frames into the file `target`; error messages call it `name`."""
    import av

    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise VideoError(f"there are no frames for {name}")
    shape = first.image.shape
    if min(shape[:2]) < 2:
        raise VideoError(f"{name} would have {shape[1]} x {shape[0]} pixels; the minimum is 2 x 2")
    sound = None if sound_of is None else SoundTracks(sound_of)
    with contextlib.closing(sound) if sound else contextlib.nullcontext():
        with _writing(name):
            output = av.open(f"file:{target.absolute()}", "w", "mp4", options=_MP4_OPTIONS)
        try:
            start = 0.0 if sound and sound.is_present else first.timestamp_ms
            with _writing(name):
                pictures = _PictureTrack(output, name, shape[1], shape[0], fps, start)
                if sound:
                    sound.add_to(output)
                output.start_encoding()
            last = first
            for frame in _chain(first, remaining):
                check_image(frame.image)
                if frame.image.shape != shape:
                    raise VideoError(f"the frames for {name} are not all of one size")
                with _writing(name):
                    seconds = pictures.write(frame)
                    if sound and seconds is not None:
                        sound.write_until(seconds)
                last = frame
            with _writing(name):
                pictures.finish(last)
                if sound:
                    sound.write_until(math.inf)
                output.close()
        except BaseException:
            with contextlib.suppress(av.FFmpegError, OSError):
                output.close()
            raise


def _chain(first: Frame, remaining: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from remaining


@contextlib.contextmanager
def _writing(name: Path) -> Iterator[None]:
    """Converts errors of FFmpeg to errors for users."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(f"cannot write {name}: {error.strerror}") from error


class _PictureTrack:
    """Encodes frames as the picture track of an MP4 file."""

    def __init__(
        self,
        output: "OutputContainer",
        name: Path,
        width: int,
        height: int,
        fps: float,
        start_ms: float,
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._output, self._name = output, name
        self._start_ms, self._fps = start_ms, fps
        self._width, self._height = width // 2 * 2, height // 2 * 2
        # The rate matters only for how the encoder distributes the bits.
        rate = Fraction(min(max(fps, 1.0), 1000.0)).limit_denominator(1001)
        encoder, options = next(
            ((name, options) for name, options in _ENCODERS if name in av.codecs_available),
            _ENCODERS[-1],
        )
        self._stream = cast("VideoStream", output.add_stream(encoder, rate, options))
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = _TIME_BASE
        # Without B-frames the encoder returns packets in the order of the frames, so the last
        # packet is the last frame, whose duration `finish` sets.
        context.max_b_frames = 0
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._reformatter = VideoReformatter()
        self._ticks = -1
        self._last: VideoFrame | None = None
        self._waiting: Packet[VideoStream] | None = None

    def write(self, frame: Frame) -> float | None:
        """Encodes a frame; returns the time of the last encoded frame in seconds, if it changed."""
        import av
        from av.video.reformatter import Interpolation

        pixels = np.ascontiguousarray(frame.image[: self._height, : self._width])
        encoded = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(pixels, "rgb24"),
            format="yuv420p",
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED_RANGE,
            interpolation=Interpolation.BILINEAR
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INP,
        )
        encoded.color_primaries = encoded.color_trc = _BT709
        ticks = round((frame.timestamp_ms - self._start_ms) * _TICKS_PER_MS)
        self._check_pause(ticks - self._ticks)
        while self._last is not None and ticks - self._ticks > _LONGEST_PAUSE:
            self._encode(self._last, self._ticks + _LONGEST_PAUSE)
        self._last = encoded
        return self._encode(encoded, max(self._ticks + 1, ticks))

    def finish(self, last: Frame) -> None:
        """Writes the remaining packets, the last of them with the duration of the last frame."""
        self._mux(self._stream.encode(None))
        if self._waiting is not None:
            milliseconds = last.duration_ms or 1000 / self._fps
            self._waiting.duration = max(1, round(milliseconds * _TICKS_PER_MS))
            self._output.mux(self._waiting)

    def _check_pause(self, ticks: int) -> None:
        if ticks > _LONGEST_PAUSES * _LONGEST_PAUSE:
            hours = ticks // _LONGEST_PAUSE
            raise VideoError(
                f"cannot write {self._name}: it would show one frame for {hours} hours"
            )

    def _encode(self, picture: "VideoFrame", ticks: int) -> float | None:
        self._ticks = ticks
        picture.pts, picture.time_base = ticks, _TIME_BASE
        return self._mux(self._stream.encode(picture))

    def _mux(self, packets: "list[Packet[VideoStream]]") -> float | None:
        seconds = None
        for packet in packets:
            if self._waiting is not None:
                self._output.mux(self._waiting)
            self._waiting = packet
            if packet.dts is not None:
                seconds = float(packet.dts * packet.time_base)
        return seconds


# FFmpeg's number for the matrix, the primaries and the transfer function of BT.709.
_BT709 = 1
_LIMITED_RANGE = 1
