"""Cases that show how latency grows with the photo, the faces, the batch and the resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.case import ALL_CORES, LITERT, MEDIAPIPE, PORTABLE, Case
from benchmarks.errors import InvalidArgumentError
from benchmarks.host import allowed_cores
from benchmarks.measuring import Target
from benchmarks.report import Settings
from benchmarks.runners import find_faces
from benchmarks.subject import LoadedSubject
from task_bundle.runtime.native_stylizer import has_native_stylizer

_Photo = npt.NDArray[np.uint8]

AXES = ("photo", "faces", "batch", "resolution")
PHOTO_SIDES = (256, 512, 1024, 2048, 4096, 8000)
FACES = (1, 2, 4, 6, 9)
BATCHES = (1, 2, 4, 8)
RESOLUTIONS = (64, 128, 256, 512)
# A photo of several faces is a grid of 3 x 3 tiles of 300 px: the detector does not find smaller
# faces, or more of them.
_GRID, _TILE = 3, 300


def scaling_targets(
    subject: LoadedSubject, photo: _Photo, axes: Sequence[str]
) -> tuple[list[Target], list[_Photo]]:
    """Lists the cases that show how latency grows.

    Args:
      subject: A bundle.
      photo: A photo with one face, [height, width, 3] uint8 RGB.
      axes: What to vary, any of `AXES`: the longer side of the photo, the number of faces in a
        photo of a fixed size, the pictures in one call of the stylizer, the side of its pictures.

    Returns:
      Targets, and the photos to which their cases refer by index.

    Raises:
      RunnerError: there is no face in the photo.
      ImportError: TensorFlow, which 'batch' and 'resolution' need, is not installed.
      InvalidArgumentError: the subject is a single model and not a bundle.
    """
    if subject.bundle is None:
        raise InvalidArgumentError(
            f"{subject.description.file} is a single model; scaling needs a bundle"
        )
    photos: list[_Photo] = []
    cases: list[Case] = []

    def add(picture: _Photo, runtime: str, **settings: Any) -> None:
        if not photos or picture is not photos[-1]:
            photos.append(picture)
        size = (picture.shape[1], picture.shape[0])
        cases.append(
            Case(
                subject.description.name,
                "end_to_end",
                runtime,
                Settings(photo=size, **settings),
                len(photos) - 1,
            )
        )

    threads = len(allowed_cores())
    if "photo" in axes:
        for side in PHOTO_SIDES:
            picture = _resized(photo, side)
            add(picture, PORTABLE, threads=threads)
            if has_native_stylizer():
                add(picture, MEDIAPIPE, cores=ALL_CORES)
    if "faces" in axes:
        face = find_faces(subject.bundle, photo, 1)[0].crop.crop(photo, _TILE)
        for faces in FACES:
            add(_crowd(face, faces), PORTABLE, threads=threads, faces=faces)
    targets = [Target(subject, tuple(cases))] if cases else []
    shapes = {(side, 1) for side in RESOLUTIONS if "resolution" in axes}
    shapes |= {(256, batch) for batch in BATCHES if "batch" in axes}
    if shapes:
        from benchmarks.variants import export_resolution

        photos.append(photo)
        for side, batch in sorted(shapes):
            exported = export_resolution(side, batch)
            settings = Settings(threads=1, delegate="xnnpack", batch=batch)
            name = exported.description.name
            case = Case(name, "stylizer", LITERT, settings, len(photos) - 1)
            targets.append(Target(exported, (case,)))
    return targets, photos


def _resized(photo: _Photo, longer: int) -> _Photo:
    import cv2

    scale = longer / max(photo.shape[:2])
    width, height = (max(1, round(scale * size)) for size in (photo.shape[1], photo.shape[0]))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, (width, height), interpolation=how), np.uint8)


def _crowd(face: _Photo, count: int) -> _Photo:
    """Returns a photo of a fixed size with `count` copies of a face on gray."""
    crowd = np.full((_GRID * _TILE, _GRID * _TILE, 3), 128, np.uint8)
    for number in range(count):
        top, left = _TILE * (number // _GRID), _TILE * (number % _GRID)
        crowd[top : top + _TILE, left : left + _TILE] = face
    return crowd
