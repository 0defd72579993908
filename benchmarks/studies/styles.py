"""How do styles look after tuning, and how well do the bundles measure on held-out portraits?

    python -m benchmarks.studies.styles docs [--preset NAME_OR_FOLDER] [--steps 100] [--seed 0]
    python -m benchmarks.studies.styles DIR --faces faces256 --people 50 \
        --style NAME [PICTURE ...] --style NAME [PICTURE ...]

Tunes the preset on each style with the defaults of `mm-face-stylizer create`, which takes a minute
for each, and writes styles.png: a row for each style with its picture, Grace Hopper's portrait from
matplotlib and generated faces. With portraits it also writes styles.json, the evaluation of each
bundle on held-out portraits, as `mm-face-stylizer evaluate` makes it.
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
from mm_face_stylizer.pixels import to_pixels
from mm_face_stylizer.preset import DEFAULT_PRESET, Preset
from mm_face_stylizer.style_pictures import STYLE_NAMES, draw_style
from task_bundle.faces.face_models import find_face_models
from task_bundle.files import atomic_write
from task_bundle.media.images import save_png

_GENERATED = 7
_DRAWN_PICTURES = 3
_SHEET_SIDE = 144


def main() -> None:
    """Tunes and evaluates all styles, and writes the sheet and the results."""
    arguments = _arguments()
    folder, spec = arguments.folder, ModelSpec.of_preset(arguments.preset)
    folder.mkdir(parents=True, exist_ok=True)
    networks = Preset.find(arguments.preset).networks()
    people = _people(networks, arguments.seed)
    portraits = None
    if arguments.faces:
        side = networks.config.image_size
        portraits = PortraitSet.load(arguments.faces, side, limit=arguments.people)
    rows, captions = [[np.full_like(people[0], 255), *people]], ["a photo, generated faces"]
    results = []
    for name, *pictures in arguments.style or [[name] for name in STYLE_NAMES]:
        with tempfile.TemporaryDirectory() as place:
            files = pictures or _drawn(name, pathlib.Path(place))
            data = Dataset.from_images(files, size=networks.config.image_size)
            options = FaceStylizerOptions(model=spec, hparams=HParams(epochs=arguments.steps))
            stylizer = FaceStylizer.create(data, options)
            # Pictures given by the user may not be free to publish.
            style = np.full_like(people[0], 255) if pictures else data.images[0]
            rows.append([style, *stylizer.stylize_images(people)])
            captions.append(name)
            if portraits is not None:
                results.append(_evaluated(name, stylizer, data, portraits, pathlib.Path(place)))
                sys.stdout.write(_line(results[-1]))
    ContactSheet(rows, captions).save(folder / "styles.png", _SHEET_SIDE, overwrite=True)
    if results:
        atomic_write(folder / "styles.json", json.dumps(results, indent=1).encode(), overwrite=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--preset", default=DEFAULT_PRESET)
    parser.add_argument("--steps", type=int, default=HParams().epochs)
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated faces (0)")
    parser.add_argument("--faces", type=pathlib.Path, help="aligned portraits")
    parser.add_argument("--people", type=int, default=50, help="number of held-out portraits (50)")
    parser.add_argument(
        "--style", nargs="+", action="append", help="name of a style, and pictures of it"
    )
    return parser.parse_args()


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
