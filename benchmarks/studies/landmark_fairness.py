"""How much of the landmark error's gap between skin tones is due to the landmark model itself?

    python -m benchmarks.studies.landmark_fairness --faces DIR

A landmark model that is less accurate for some people moves their landmarks further for the same
change of a photo. The study degrades held-out portraits in ways that do not depend on the face
(noise, lower resolution, JPEG), and prints the landmark error by skin tone as JSON, as
`mm-face-stylizer evaluate` measures it.
"""

from __future__ import annotations

import argparse
import io
import json
import pathlib
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image

from mm_face_stylizer.evaluation.evaluator import faces_values
from mm_face_stylizer.evaluation.fairness import largest_gap
from mm_face_stylizer.evaluation.landmarks import find_faces
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.skin_tone import tone, typology_angle
from task_bundle.faces.face_models import find_face_models

_ROUNDS = 2000
_SMALLEST_GROUP = 10


def _noise(photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(photo + random.normal(0, 8, photo.shape), 0, 255).astype(np.uint8)


def _low_resolution(photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
    del random
    picture, size = Image.fromarray(photo), photo.shape[1::-1]
    small = picture.resize([3 * side // 8 for side in size], Image.Resampling.BOX)
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC))


def _jpeg(photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
    del random
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=20)
    return np.asarray(Image.open(buffer))


_CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "noise of 8 gray levels": _noise,
    "3/8 of the side": _low_resolution,
    "JPEG of quality 20": _jpeg,
}


def main() -> None:
    """Measures the landmark errors of degraded photos, and prints them as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=pathlib.Path, required=True, help="aligned portraits")
    parser.add_argument(
        "--side", type=int, default=256, help="side of the portraits in pixels (256)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    arguments = parser.parse_args()

    models = find_face_models()
    photos = PortraitSet.load(arguments.faces, arguments.side).photos
    faces = find_faces(photos, models)
    tones = [
        "" if face is None else tone(typology_angle(photo, face))
        for photo, face in zip(photos, faces, strict=True)
    ]
    report = {}
    for name, change in _CHANGES.items():
        random = np.random.default_rng(arguments.seed)
        changed = np.stack([change(photo, random) for photo in photos])
        errors = faces_values(faces, find_faces(changed, models))["landmark_error"]
        gap = largest_gap(errors, tones, random, _ROUNDS, _SMALLEST_GROUP)
        if gap is None:
            raise SystemExit("there are not enough faces of two skin tones to compare them")
        mean = errors.mean()
        report[name] = {
            "mean": round(mean, 2),
            "groups": {group.name: round(group.mean, 2) for group in gap.groups},
            "relative_gap": round(gap.gap / mean, 2),
            "by_chance": round(gap.by_chance / mean, 2),
        }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
