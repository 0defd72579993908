"""Reads films that tests have written."""

from pathlib import Path

from task_bundle.media.video import Frame, Video


def read_frames(path: Path) -> list[Frame]:
    """Returns all frames of a film."""
    with Video(path) as video:
        return list(video.frames())
