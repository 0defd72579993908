"""Reads videos frame by frame, and writes videos with the sound of another video."""

import contextlib
import math
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from task_bundle.errors import VideoError
from task_bundle.files import atomic_path
from task_bundle.media.images import check_image

# MPEG-4 Part 2 is the best codec that all OpenCV wheels on PyPI encode; they do not include H.264.
_CODEC = "mp4v"
# OpenCV's FFmpeg (4.11 and 5.0) truncates instead of rounding when it converts to YUV, so that each
# encoding darkens and tints the picture. Adding these values to blue, green and red compensates.
_TRUNCATION_OFFSET = (2, 1, 2, 0)
# In files that do not state a frame rate, OpenCV returns the clock rate of the container, which is
# above this value in frames per second.
_MAX_FPS = 240.0
_FALLBACK_FPS = 30.0
# The sound is copied as it is. If MP4 does not support its codec, it is encoded as AAC.
_SOUND_CODECS = ("copy", "aac")


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video.

    Attributes:
      image: [height, width, 3] uint8 RGB, upright.
      timestamp_ms: when the frame is shown, in milliseconds from the start of the video; greater
        than the timestamp of the previous frame.
    """

    image: npt.NDArray[np.uint8]
    timestamp_ms: float


class Video:
    """A video file opened for reading. Use it in a `with` statement, or call `close`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the file.

        Args:
          path: a video in any format that OpenCV's FFmpeg reads.

        Raises:
          VideoError: the file is missing, not a file, or not a video that OpenCV reads, or its path
            is not UTF-8. The message names the file.
        """
        import cv2

        self.path = Path(path)
        if not self.path.is_file():
            wrong = "is not a file" if self.path.exists() else "does not exist"
            raise VideoError(f"{self.path} {wrong}")
        _check_encoding(self.path, self.path.absolute())
        # The path is absolute because OpenCV takes a relative path with a colon for a URL.
        self._capture = cv2.VideoCapture(str(self.path.absolute()), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(f"{self.path} is not a video in a known format, or is damaged")
        # This is the default except in OpenCV 4.11: https://github.com/opencv/opencv/issues/26795
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self._clock = cv2.CAP_PROP_POS_MSEC
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._fps = fps if 0 < fps <= _MAX_FPS else _FALLBACK_FPS
        self._frame_count = int(count) if 0 < count < 2**31 else None

    @property
    def fps(self) -> float:
        """Frames per second; 30 if the file does not state it."""
        return self._fps

    @property
    def frame_count(self) -> int | None:
        """Approximate number of frames, or None if the file does not state it."""
        return self._frame_count

    def frames(self) -> Iterator[Frame]:
        """Yields the frames that have not been read yet, rotated upright by the file's metadata.

        Raises:
          VideoError: no frame can be decoded.
        """
        import cv2

        previous = None
        while True:
            decoded, pixels = self._capture.read()
            if not decoded:
                break
            timestamp = self._capture.get(self._clock)
            if previous is not None and not timestamp > previous:
                # Some containers store no timestamps.
                timestamp = previous + 1000 / self._fps
            previous = timestamp
            yield Frame(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8), timestamp)
        if previous is None:
            raise VideoError(f"{self.path} has no frames that can be decoded")

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

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


def find_ffmpeg() -> str | None:
    """Returns the path of the ffmpeg program, or None if there is none on the PATH."""
    return shutil.which("ffmpeg")


def save_video(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    fps: float,
    sound_of: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> bool:
    """Writes an MP4 video, atomically.

    If writing fails for any reason, including an exception in `frames` or a KeyboardInterrupt, an
    existing file at `path` is left unchanged. The new video has a constant frame rate; frames are
    repeated or dropped so that each is shown at its timestamp. OpenCV encodes MPEG-4 Part 2, which
    drops the last column or row of pixels if the width or height is odd.

    Args:
      path: the file to write, usually named `*.mp4`. Its folder must exist.
      frames: at least one frame; all must have the same size.
      fps: frames per second.
      sound_of: a video whose sound tracks are copied. This needs the program ffmpeg; without it the
        new video is silent.
      overwrite: whether an existing file may be replaced.

    Returns:
      False if `sound_of` was given but the sound was not copied, because ffmpeg is missing or
      failed; otherwise True.

    Raises:
      VideoError: the path is not UTF-8, there are no frames, they differ in size or have less than
        2 x 2 pixels, or the encoder failed, for instance because the disk is full.
      FileExistsError: the file exists and `overwrite` is false.
      OSError: the file cannot be written.
      ValueError: `fps` is not positive.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"the frame rate must be positive, not {fps}")
    # The temporary file is where a symbolic link leads to.
    _check_encoding(Path(path), Path(path).resolve())
    with atomic_path(path, overwrite, ".mp4") as temporary:
        _encode(temporary, Path(path), frames, fps)
        return sound_of is None or _add_sound(temporary, Path(sound_of))


def _check_encoding(name: Path, opened: Path) -> None:
    """Checks that OpenCV can open a path; the error message calls it `name`."""
    try:
        str(opened).encode()
    except UnicodeEncodeError as error:
        # OpenCV would end the process with SIGSEGV.
        raise VideoError(
            f"OpenCV cannot open {name}: rename the file or its folder, whose name is not UTF-8"
        ) from error


def _encode(target: Path, name: Path, frames: Iterable[Frame], fps: float) -> None:
    """Encodes frames into the file `target`; error messages call it `name`."""
    import cv2

    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise VideoError(f"there are no frames for {name}")
    shape = first.image.shape
    if min(shape[:2]) < 2:
        raise VideoError(f"{name} would have {shape[1]} x {shape[0]} pixels; the minimum is 2 x 2")
    writer = cv2.VideoWriter(
        str(target),
        cv2.CAP_FFMPEG,
        cv2.VideoWriter.fourcc(*_CODEC),
        fps,
        (shape[1], shape[0]),
    )
    try:
        if not writer.isOpened():
            raise VideoError(f"OpenCV cannot write {name} with {shape[1]} x {shape[0]} pixels")
        offset = np.array(_TRUNCATION_OFFSET, np.float64)
        written = 0
        for pixels in _at_constant_rate(first, remaining, fps):
            check_image(pixels)
            if pixels.shape != shape:
                raise VideoError(f"the frames for {name} are not all of one size")
            writer.write(cv2.add(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), offset))
            written += 1
    finally:
        writer.release()
    # OpenCV does not report a failed write.
    if not _has_frames(target, written):
        raise VideoError(f"cannot write {name}: the encoder failed; is the disk full?")


def _at_constant_rate(
    first: Frame, remaining: Iterator[Frame], fps: float
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields the picture to show at each frame of a video with a constant frame rate."""
    shown, count = first.image, 0
    for frame in remaining:
        due = round((frame.timestamp_ms - first.timestamp_ms) * fps / 1000)
        while count < due:
            yield shown
            count += 1
        shown = frame.image
    yield shown


def _has_frames(path: Path, count: int) -> bool:
    try:
        with Video(path) as video:
            return video.frame_count == count
    except VideoError:
        return False


def _add_sound(video: Path, source: Path) -> bool:
    """Copies the sound of `source` into `video`, and returns whether ffmpeg succeeded."""
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        return False
    joined = video.with_name(f"{video.name}.joined.mp4")
    try:
        for codec in _SOUND_CODECS:
            done = subprocess.run(
                [
                    *(ffmpeg, "-nostdin", "-v", "error", "-y"),
                    # The prefix keeps ffmpeg from taking a file name for a URL or an option.
                    *("-i", f"file:{video}", "-i", f"file:{source.absolute()}"),
                    # The question mark makes the sound optional.
                    *("-map", "0:v:0", "-map", "1:a?", "-c:v", "copy", "-c:a", codec),
                    *("-movflags", "+faststart", f"file:{joined}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode == 0 and joined.exists():
                os.replace(joined, video)
                return True
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            joined.unlink()
