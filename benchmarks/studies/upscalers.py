"""How does the released upscaler enlarge pictures twofold, beside others?

    python -m benchmarks.studies.upscalers --portraits DIR --drawings DIR [--list FILES.json] -o OUT
        [--upscaler NAME=RUN ...] [--node-modules node_modules]

Held-out pictures are reduced to half their side by bicubic interpolation, and enlarged again by
bicubic and Lanczos interpolation, by the released upscaler in float16 and int8, by others of this
project, and by npm's @upscalerjs/esrgan-slim, where that is installed together with
@tensorflow/tfjs and @tensorflow/tfjs-backend-wasm and `node` is there. Of each picture, reduced to
512 px if its shorter side has more, the middle 256 px are taken.

Measured are the peak signal-to-noise ratio, the structural similarity (SSIM), the distance of
features of EfficientNet-Lite0, and the CPU time of enlarging 256 px to 512 px on one thread, in
turns with the package's stylizer. Writes results.json, and sheets at full size.
"""

from __future__ import annotations

import argparse
import functools
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.evaluation.picture_quality import Pictures, psnr
from mm_face_stylizer.held_out import is_held_out
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.pixels import from_pixels
from mm_face_stylizer.preset import Preset
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.srresnet.upscaler_training import FEATURE_TAPS
from mm_face_stylizer.upscaling.upscaler import Upscaler
from task_bundle.media.folders import list_files
from task_bundle.media.images import PICTURE_SUFFIXES, load_image, save_png
from task_bundle.tflite.litert_model import LitertModel

_LARGEST_SIDE, _SIDE, _COUNT, _SHEET_PICTURES = 512, 256, 100, 6
_ROUNDS, _BATCH = 20, 4
_ESRGAN_SLIM = Path(__file__).with_name("esrgan_slim.cjs")

Way = Callable[[Pictures], Pictures]


def main() -> None:
    """Measures all ways of enlarging, and writes table and sheets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--portraits", type=Path, required=True, metavar="DIR")
    parser.add_argument("--drawings", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILES.json",
        help="the drawings to take, a list of paths in their folder (those held out by number)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--upscaler", nargs="*", default=[], metavar="NAME=RUN")
    parser.add_argument("--node-modules", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    sets = {
        "portraits": _pictures(arguments.portraits, None),
        "drawings": _pictures(arguments.drawings, arguments.list),
    }
    upscalers = {"released": Upscaler.find()}
    for item in arguments.upscaler:
        name, _, run = item.partition("=")
        upscalers[name] = Upscaler.find(run)
    ways: dict[str, Way] = {
        "bicubic": functools.partial(_interpolated, resample=Image.Resampling.BICUBIC),
        "Lanczos": functools.partial(_interpolated, resample=Image.Resampling.LANCZOS),
    }
    for name, upscaler in upscalers.items():
        for precision in ("float16", "int8"):
            ways[f"{name}, {precision}"] = _network(upscaler, precision)
    results: dict[str, dict[str, dict[str, float]]] = {}
    features = perceptual_network(FEATURE_TAPS)
    for kind, large in sets.items():
        small = [_interpolated(one, 0.5, Image.Resampling.BICUBIC) for one in large]
        found = {name: [way(one) for one in small] for name, way in ways.items()}
        if arguments.node_modules is not None:
            found["esrgan-slim"] = _by_esrgan_slim(small, arguments.node_modules)[0]
        wanted = _features_of(features, large)
        results[kind] = {
            name: _measured(large, wanted, enlarged, features) for name, enlarged in found.items()
        }
        _save_sheet(arguments.output / f"{kind}.png", large, found)
        sys.stdout.write(json.dumps({kind: results[kind]}, indent=2) + "\n")
    times = _times(sets["portraits"][0], ways, arguments.node_modules)
    sys.stdout.write(json.dumps(times, indent=2) + "\n")
    text = json.dumps({"quality": results, "milliseconds": times}, indent=2)
    (arguments.output / "results.json").write_text(text + "\n", encoding="utf-8")


def _pictures(folder: Path, listing: Path | None) -> list[Pictures]:
    """Loads the middles of at most a hundred held-out pictures of a folder."""
    if listing is None:
        files = [file for file in list_files(folder, PICTURE_SUFFIXES) if is_held_out(file.name)]
    else:
        files = [folder / name for name in json.loads(listing.read_text(encoding="utf-8"))]
    chosen = np.unique(np.linspace(0, len(files) - 1, _COUNT).astype(int))
    middles = [_middle(load_image(files[index])) for index in chosen]
    return [middle for middle in middles if middle.shape[:2] == (_SIDE, _SIDE)]


def _middle(picture: Pictures) -> Pictures:
    """Returns the middle of a picture, which is reduced first if it is larger than 512 px."""
    height, width = picture.shape[:2]
    factor = min(1.0, _LARGEST_SIDE / min(height, width))
    size = round(factor * width), round(factor * height)
    reduced = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    top, left = (max(0, (length - _SIDE) // 2) for length in reduced.shape[:2])
    return np.ascontiguousarray(reduced[top : top + _SIDE, left : left + _SIDE])


def _interpolated(
    picture: Pictures, factor: float = 2.0, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Pictures:
    side = round(factor * picture.shape[0])
    return np.asarray(Image.fromarray(picture).resize((side, side), resample))


def _network(upscaler: Upscaler, precision: str) -> Way:
    @functools.cache
    def model(side: int) -> LitertModel:
        return LitertModel(upscaler.model(side, precision), precision)

    def enlarge(picture: Pictures) -> Pictures:
        (values,) = model(picture.shape[0]).run(picture[np.newaxis].astype(np.float32) / 255.0)
        return np.asarray(np.rint(255.0 * values[0]), np.uint8)

    return enlarge


def _by_esrgan_slim(
    pictures: Sequence[Pictures], modules: Path
) -> tuple[list[Pictures], list[float]]:
    """Enlarges pictures in node; returns them and the CPU milliseconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (Path(folder) / name for name in ("small.bin", "large.bin"))
        small.write_bytes(
            b"".join(struct.pack("<ii", *one.shape[:2]) + one.tobytes() for one in pictures)
        )
        command = ["node", str(_ESRGAN_SLIM), str(modules), str(small), str(large)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        content = large.read_bytes()
    found, start = [], 0
    for _ in pictures:
        height, width = struct.unpack_from("<ii", content, start)
        pixels = np.frombuffer(content, np.uint8, 3 * height * width, start + 8)
        found.append(pixels.reshape(height, width, 3))
        start += 8 + 3 * height * width
    return found, [float(line) for line in output.split()]


def _batches(pictures: Sequence[Pictures]) -> list[Pictures]:
    return [np.stack(pictures[i : i + _BATCH]) for i in range(0, len(pictures), _BATCH)]


def _features_of(features: keras.Model, pictures: Sequence[Pictures]) -> list[list[tf.Tensor]]:
    return [features(from_pixels(batch)) for batch in _batches(pictures)]


def _measured(
    large: Sequence[Pictures],
    wanted: list[list[tf.Tensor]],
    found: Sequence[Pictures],
    features: keras.Model,
) -> dict[str, float]:
    pairs = zip(_batches(large), _batches(found), strict=True)
    similarities = [tf.image.ssim(*map(tf.constant, pair), 255).numpy() for pair in pairs]
    distances = [
        float(losses.feature_distance(*maps))
        for maps in zip(_features_of(features, found), wanted, strict=True)
    ]
    return {
        "count": len(large),
        "psnr": round(float(psnr(np.stack(large), np.stack(found)).mean()), 2),
        "ssim": round(float(np.concatenate(similarities).mean()), 4),
        "feature_distance": round(float(np.mean(distances)), 4),
    }


def _times(small: Pictures, ways: dict[str, Way], modules: Path | None) -> dict[str, float]:
    """Returns the median CPU milliseconds of enlarging a picture, and of the stylizer."""
    stylizer = Preset.find()
    timed: dict[str, Callable[[], object]] = {
        name: functools.partial(way, small) for name, way in ways.items()
    }
    model = LitertModel(stylizer.ready_stylizer(stylizer.ready_styles[0]), "the stylizer")
    photo = small[np.newaxis].astype(np.float32) / 255.0
    timed["the package's stylizer, float16"] = lambda: model.run(photo)
    spent: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(_ROUNDS):
        for name, run in timed.items():
            before = time.thread_time()
            run()
            spent[name].append(1000.0 * (time.thread_time() - before))
    if modules is not None:
        # The first picture compiles the network.
        spent["esrgan-slim"] = _by_esrgan_slim([small] * 4, modules)[1][1:]
    return {name: round(float(np.median(values)), 1) for name, values in spent.items()}


def _save_sheet(path: Path, large: Sequence[Pictures], found: dict[str, list[Pictures]]) -> None:
    """Writes some pictures at full size: the original, then each way, a row a picture."""
    rows = []
    for index in np.linspace(0, len(large) - 1, _SHEET_PICTURES).astype(int):
        row = [large[index], *(pictures[index] for pictures in found.values())]
        rows.append(np.concatenate(row, 1))
    save_png(path, np.concatenate(rows), overwrite=True)
    sys.stdout.write(f"{path}: original, {', '.join(found)}\n")


if __name__ == "__main__":
    main()
