"""Cases that show how latency grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.case import ALL_CORES, LITERT, MEDIAPIPE, PORTABLE, Case
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
# Of a photo of several faces: the detector finds no smaller ones, nor more.
_GRID, _TILE = 3, 300


def scaling_targets(
    subject: LoadedSubject, photo: _Photo, axes: Sequence[str]
) -> tuple[list[Target], list[_Photo]]:
    """Lists what shows how latency grows.

    Args:
      subject: a bundle.
      photo: [height, width, 3] uint8 RGB with one face.
      axes: what to vary, of `AXES`: the photo's longer side, the number of faces in a photo that
        stays as big, the pictures that the stylizer takes in one call, the stylizer's resolution.

    Returns:
      Targets, and the photos that their cases name.

    Raises:
      RunnerError: there is no face in the photo.
      ImportError: TensorFlow, which 'batch' and 'resolution' need, is not installed.
      ValueError: the subject is a single model and not a bundle.
    """
    if subject.bundle is None:
        raise ValueError(f"{subject.description.file} is a single model; scaling needs a bundle")
    photos: list[_Photo] = []
    cases: list[Case] = []

    def add(picture: _Photo, runtime: str, **settings: Any) -> None:
        if not photos or picture is not photos[-1]:
            photos.append(picture)
        size = (picture.shape[1], picture.shape[0])
        cases.append(
            Case(
                subject.description.name,
                "",
                "end_to_end",
                runtime,
                Settings(photo=size, **settings),
                str(len(photos) - 1),
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
            made = export_resolution(side, batch)
            settings = Settings(threads=1, delegate="xnnpack", batch=batch)
            case = Case(
                made.description.name, "", "stylizer", LITERT, settings, str(len(photos) - 1)
            )
            targets.append(Target(made, (case,)))
    return targets, photos


def _resized(photo: _Photo, longer: int) -> _Photo:
    import cv2

    scale = longer / max(photo.shape[:2])
    width, height = (max(1, round(scale * size)) for size in (photo.shape[1], photo.shape[0]))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, (width, height), interpolation=how), np.uint8)


def _crowd(face: _Photo, count: int) -> _Photo:
    """A photo of a fixed size with so many copies of a face, grey elsewhere."""
    crowd = np.full((_GRID * _TILE, _GRID * _TILE, 3), 128, np.uint8)
    for number in range(count):
        top, left = _TILE * (number // _GRID), _TILE * (number % _GRID)
        crowd[top : top + _TILE, left : left + _TILE] = face
    return crowd
