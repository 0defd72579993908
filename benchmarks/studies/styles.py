"""How do styles look after tuning, and how well do the bundles measure on held-out portraits?

    python -m benchmarks.studies.styles docs [--preset NAME_OR_FOLDER] [--steps 100] [--seed 0]
    python -m benchmarks.studies.styles DIR --faces faces256 --people 50 \
        --style NAME [PICTURE ...] --style NAME [PICTURE ...]
    python -m benchmarks.studies.styles DIR --faces faces256 --styles DIR --style-list STYLES.csv

Tunes the preset on each style with the defaults of `mm-face-stylizer create`, which takes a minute
for each, and writes styles.png: a row for each style with its picture and what the bundle makes of
people, Grace Hopper and generated ones. With portraits these are held-out portraits, and there is
also styles.json: the evaluation of each bundle on held-out portraits, as `mm-face-stylizer
evaluate` makes it. A style list is one that `pretrain-drawing` reads.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np

from mm_face_stylizer import Dataset, FaceStylizer, FaceStylizerOptions, HParams
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.demo import aligned_portrait
from mm_face_stylizer.evaluation.evaluator import evaluate
from mm_face_stylizer.evaluation.portrait_set import PortraitSet
from mm_face_stylizer.evaluation.subject import BundleSubject
from mm_face_stylizer.model_spec import ModelSpec
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.painting.choices import PaintingChoices
from mm_face_stylizer.painting.command import add_painting_options
from mm_face_stylizer.pixels import to_pixels
from mm_face_stylizer.preset import DEFAULT_PRESET, Preset
from mm_face_stylizer.style_pictures import STYLE_NAMES, draw_style
from mm_face_stylizer.training.blaze_stylegan.painted_pairs import read_style_list
from task_bundle.faces.face_models import find_face_models
from task_bundle.files import atomic_write
from task_bundle.media.images import save_png

_GENERATED = 7
_SHOWN = 12
_MOST_PICTURES = 10
_DRAWN_PICTURES = 3
_SHEET_SIDE = 144


def main() -> None:
    """Tunes and evaluates all styles, and writes the sheet and the results."""
    arguments = _arguments()
    folder, spec = arguments.folder, ModelSpec.of_preset(arguments.preset)
    folder.mkdir(parents=True, exist_ok=True)
    networks = Preset.find(arguments.preset).networks()
    portraits = None
    if arguments.faces:
        side = networks.config.image_size
        portraits = PortraitSet.load(arguments.faces, side, limit=arguments.people)
        shown = np.linspace(0, len(portraits) - 1, min(_SHOWN, len(portraits))).astype(int)
        people, caption = portraits.photos[shown], "held-out portraits"
    else:
        people, caption = _people(networks, arguments.seed), "a photo, generated faces"
    rows, captions = [[np.full_like(people[0], 255), *people]], [caption]
    results = []
    for name, *pictures in _wanted(arguments):
        with tempfile.TemporaryDirectory() as place:
            files = pictures or _drawn(name, pathlib.Path(place))
            data = Dataset.from_images(files, size=networks.config.image_size)
            options = FaceStylizerOptions(model=spec, hparams=HParams(epochs=arguments.steps))
            paintings = PaintingChoices(arguments.likeness, arguments.colors)
            stylizer = FaceStylizer.create(data, options, paintings=paintings)
            # Pictures given by the user may not be free to publish, nor are held-out portraits.
            hidden = pictures and portraits is None
            style = np.full_like(people[0], 255) if hidden else data.images[stylizer.picture]
            rows.append([style, *stylizer.stylize_images(people)])
            captions.append(name)
            if portraits is not None:
                results.append(_evaluated(name, stylizer, data, portraits, pathlib.Path(place)))
                sys.stdout.write(_line(results[-1]))
                sys.stdout.flush()
                content = json.dumps(results, indent=1).encode()
                atomic_write(folder / "styles.json", content, overwrite=True)
        # Written after each style, so that a long study can be watched and ended early.
        ContactSheet(rows, captions).save(folder / "styles.png", _SHEET_SIDE, overwrite=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--preset", default=DEFAULT_PRESET)
    parser.add_argument("--steps", type=int, default=HParams().epochs)
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated faces (0)")
    add_painting_options(parser)
    parser.add_argument("--faces", type=pathlib.Path, help="aligned portraits")
    parser.add_argument("--people", type=int, default=50, help="number of held-out portraits (50)")
    parser.add_argument(
        "--style", nargs="+", action="append", help="name of a style, and pictures of it"
    )
    parser.add_argument("--styles", type=pathlib.Path, help="folder of the style list's pictures")
    parser.add_argument(
        "--style-list", type=pathlib.Path, help="CSV file with the columns file, set"
    )
    arguments = parser.parse_args()
    if (arguments.styles is None) != (arguments.style_list is None):
        parser.error("--styles and --style-list belong together")
    return arguments


def _wanted(arguments: argparse.Namespace) -> list[list]:
    """The name of each style, followed by its pictures, if there are any."""
    if arguments.style_list is None:
        return arguments.style or [[name] for name in STYLE_NAMES]
    listed = read_style_list(arguments.style_list, arguments.styles)
    return [[name, *files[:_MOST_PICTURES]] for name, files in listed.items()]


def _drawn(name: str, folder: pathlib.Path) -> list[pathlib.Path]:
    files = [folder / f"{name}_{seed}.png" for seed in range(_DRAWN_PICTURES)]
    for seed, file in enumerate(files):
        save_png(file, draw_style(name, seed=seed))
    return files


def _people(networks: Networks, seed: int) -> np.ndarray:
    """Returns Grace Hopper's portrait and generated faces, uint8 [8, side, side, 3]."""
    generated = to_pixels(networks.generated_faces(_GENERATED, seed))
    return np.stack([aligned_portrait(networks.config.image_size), *generated])


def _evaluated(
    name: str,
    stylizer: FaceStylizer,
    data: Dataset,
    portraits: PortraitSet,
    folder: pathlib.Path,
) -> dict:
    """Evaluates the bundle of one style."""
    bundle = folder / f"{name}.task"
    stylizer.bundle().save(bundle)
    models = find_face_models()
    found = evaluate(BundleSubject(bundle), portraits, data, face_models=models).evaluation
    return {
        "style": name,
        "pictures": len(data),
        "people": found.faces.count,
        "face_models": found.face_models.source,
        "measures": {
            measure.name: {"mean": measure.mean, "interval": measure.interval}
            for measure in found.measures
        },
    }


def _line(result: dict) -> str:
    means = {name: round(measure["mean"], 3) for name, measure in result["measures"].items()}
    return json.dumps({"style": result["style"], **means}) + "\n"


if __name__ == "__main__":
    main()
