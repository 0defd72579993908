"""What a preset makes of faces without a style, as two pictures that anybody may be shown.

    python -m benchmarks.studies.preset_sheets docs [--preset NAME_OR_FOLDER] [--seed 0]

Writes samples.png, 64 faces that the preset's face prior makes up, and reconstructions.png, Grace
Hopper's portrait from matplotlib and 63 other made-up faces, each above its reconstruction.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np

from mm_face_stylizer.demo import aligned_portrait
from mm_face_stylizer.evaluation import sheets
from mm_face_stylizer.pixels import to_pixels
from mm_face_stylizer.preset import DEFAULT_PRESET, Preset

_COUNT = 64
_SIDE = 112


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--preset", default=DEFAULT_PRESET)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    networks = Preset.find(arguments.preset).networks()
    drawn = to_pixels(networks.generated_faces(2 * _COUNT - 1, arguments.seed))
    samples, others = np.split(drawn, [_COUNT])
    faces = np.stack([aligned_portrait(networks.config.image_size), *others])
    pairs = sheets.pairs_sheet(faces, networks.reconstruct(faces), "reconstructions")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in (
        ("samples", sheets.faces_sheet(samples, "faces drawn by the prior")),
        ("reconstructions", pairs),
    ):
        sheet.save(arguments.folder / f"{name}.png", _SIDE, overwrite=True)


if __name__ == "__main__":
    main()
