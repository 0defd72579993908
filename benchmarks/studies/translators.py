"""What does the released translator draw, and how fast, beside the stylizer of `create`?

    python -m benchmarks.studies.translators docs [--photo PHOTO ...] [--preset NAME_OR_FOLDER]
        [--published]

Writes translator.jpg, people above their translations, and prints the latencies of both stylizers
on one thread, measured in turns: the median and the fastest call. `--published` also measures the
network of 9 blocks of width 64. People are the photos given, Grace Hopper, and practice faces,
which show nobody. The released picture was drawn with NASA's portrait of Eileen Collins,
`skimage.data.astronaut()`.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.studies.shop_window import save_rows, shown_people
from mm_face_stylizer.demo import portrait
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.ready_styles import ready_bundle, ready_styles
from task_bundle.media.images import load_image
from task_bundle.runtime.stylizer_model import StylizerModel

_PRESET = "translator_toon_head_256"
_SIDE, _QUALITY = 160, 88


def main() -> None:
    """Writes the picture and prints the latencies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--photo", nargs="*", default=[], type=pathlib.Path)
    parser.add_argument("--preset", default=_PRESET)
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    networks = Preset.find(arguments.preset).networks()
    models = {
        f"translator, {precision}": StylizerModel(export_stylizer(networks, precision))
        for precision in ("float16", "int8")
    }
    models["stylizer of create, float16"] = StylizerModel(ready_bundle(ready_styles()[0]).stylizer)
    side = networks.config.image_size
    if arguments.published:
        config = TranslatorConfig.of_width(64, 9, image_size=side)
        model = export_stylizer(TranslatorNetworks.build(config), "float16")
        models["9 blocks of width 64, float16"] = StylizerModel(model)
    photos = [*(load_image(path) for path in arguments.photo), portrait()]
    people = shown_people(photos, side)
    drawn = [models["translator, float16"].run(person) for person in people]
    save_rows([people, drawn], arguments.folder / "translator.jpg", _SIDE, _QUALITY)
    for name, times in _times(models, people[0], arguments.rounds).items():
        sys.stdout.write(f"{name}: {np.median(times):.1f} ms, fastest {min(times):.1f} ms\n")


def _times(
    models: dict[str, StylizerModel], person: npt.NDArray[np.uint8], rounds: int
) -> dict[str, list[float]]:
    """Calls all models in turns, and returns the milliseconds of each call."""
    inputs = {}
    for name, model in models.items():
        size = model.input_size
        inputs[name] = model.to_values(np.asarray(Image.fromarray(person).resize(size)))
        model.invoke(inputs[name])
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.invoke(inputs[name])
            times[name].append(1000.0 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    main()
