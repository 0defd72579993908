"""How well does a network that has learned to draw learn one style more?

    python -m benchmarks.studies.learned_styles PRESET --style PICTURE ... --photos DIR -o SHEET.png

PRESET is what `mm-face-stylizer pretrain-drawing` wrote. Its drawing network learns paintings of
the practice faces in the style of the pictures, and draws people of the folder, whom it never saw.
The sheet has their photos, their paintings, what the network draws, and what it drew before of the
style that it started from. The time that painting and training took, and the loss, are printed.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import numpy as np

from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.held_out import PICTURE_SUFFIXES
from mm_face_stylizer.painting.painter import Painter
from mm_face_stylizer.painting.portrait_finder import PortraitFinder
from mm_face_stylizer.practice_faces import practice_faces
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training.blaze_stylegan.drawing_training import drawn, encoded
from mm_face_stylizer.training.blaze_stylegan.painting_trainer import (
    PaintingOptions,
    PaintingTrainer,
)
from task_bundle.media.images import load_image


def main() -> None:
    """Tunes, draws the sheet, and prints the figures."""
    arguments = _parser().parse_args()
    preset = Preset.find(arguments.preset)
    networks, drawing, side = preset.networks(), preset.drawing(), preset.image_size
    files = sorted(
        path for path in arguments.photos.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES
    )
    with PortraitFinder() as finder:
        styles = [finder.find(load_image(path), side, str(path)) for path in arguments.style]
        people = [
            finder.find(load_image(path), side, str(path)) for path in files[: arguments.people]
        ]
    start = time.monotonic()
    options = PaintingOptions(arguments.steps, learning_rate=arguments.learning_rate)
    trainer = PaintingTrainer(networks, drawing, styles, practice_faces(side, 32), options)
    painted = time.monotonic()
    history = trainer.fit()
    trained = time.monotonic()
    photos = np.stack([person.pixels for person in people])
    latents = encoded(networks, photos)
    painter = Painter(styles)
    tuned = trainer.drawing
    rows = [
        list(photos),
        [painter.paint(person).picture for person in people],
        list(drawn(tuned.synthesis, latents, tuned.codes[0])),
        list(drawn(drawing.synthesis, latents, drawing.code(trainer.start))),
    ]
    captions = ["photos", "paintings", f"after {options.steps} steps", f"before: {trainer.start}"]
    ContactSheet(rows, captions).save(arguments.output, overwrite=True)
    sys.stdout.write(
        f"painted in {painted - start:.1f} s, trained in {trained - painted:.1f} s; L1 "
        f"{np.mean(history['l1'][:5]):.3f} at first, {np.mean(history['l1'][-5:]):.3f} at last\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("preset", metavar="PRESET")
    parser.add_argument("--style", nargs="+", required=True, type=pathlib.Path, metavar="PICTURE")
    parser.add_argument("--photos", required=True, type=pathlib.Path, metavar="DIR")
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path, metavar="SHEET.png")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    return parser


if __name__ == "__main__":
    main()
