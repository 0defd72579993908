"""What the default preset makes of every drawn style, as one picture.

    python -m benchmarks.style_sheet docs/styles.png [--steps 100]

Rows are styles, tuned at the defaults of `mm-face-stylizer create`; columns are Grace Hopper's
portrait from matplotlib and faces that the preset generates. Takes a minute a style.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import numpy as np

from mm_face_stylizer import Dataset, FaceStylizer, FaceStylizerOptions, HParams, SupportedModels
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.demo import portrait
from mm_face_stylizer.networks import to_pixels
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.style_pictures import STYLE_NAMES, draw_style
from task_bundle.alignment import FaceFinder
from task_bundle.images import save_png

_GENERATED = 2
_STYLE_PICTURES = 3


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=pathlib.Path, metavar="SHEET.png")
    parser.add_argument("--steps", type=int, default=HParams().epochs)
    arguments = parser.parse_args()

    networks = Preset.find().networks()
    faces = np.stack([_aligned_portrait(networks.config.image_size)])
    faces = np.concatenate([faces, to_pixels(networks.generated_faces(_GENERATED, seed=1))])
    rows = [[np.full_like(faces[0], 255), *faces]]
    for name in STYLE_NAMES:
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / f"{seed}.png" for seed in range(_STYLE_PICTURES)]
            for seed, path in enumerate(paths):
                save_png(path, draw_style(name, seed=seed))
            data = Dataset.from_images(paths)
        options = FaceStylizerOptions(
            model=SupportedModels.BLAZE_FACE_STYLIZER_256, hparams=HParams(epochs=arguments.steps)
        )
        stylizer = FaceStylizer.create(data, options)
        rows.append([data.images[0], *stylizer.stylize_images(faces)])
    captions = ["photo, generated faces", *STYLE_NAMES]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    ContactSheet(rows, captions).save(arguments.output, side=192, overwrite=True)


def _aligned_portrait(side: int) -> np.ndarray:
    photo = portrait()
    with FaceFinder() as finder:
        return finder.find(photo)[0].crop.crop(photo, side)


if __name__ == "__main__":
    main()
