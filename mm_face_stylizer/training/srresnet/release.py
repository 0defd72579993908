"""Writes the preset of an upscaler from a finished training, with measures beside bicubic."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.evaluation.picture_quality import at_side, psnr
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.export_options import PRECISIONS
from mm_face_stylizer.models.srresnet.networks import UpscalerNetworks
from mm_face_stylizer.pixels import from_pixels
from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.preset import Preset, save_preset
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.card import Provenance, data_card, run_card
from mm_face_stylizer.training.srresnet.patches import Patches, PictureFolder
from mm_face_stylizer.training.srresnet.upscaler_training import (
    UpscalerTraining,
    bicubic,
    enlarged,
)
from task_bundle.tflite.litert_model import LitertModel
from task_bundle.tflite.model import describe

_FAMILY = "srresnet"
_MEASURED_PICTURES, _MEASURED_SIDE = 100, 256
_BATCH = 4
# Practice faces for the calibration of int8, and how many of them each ready style draws.
_CALIBRATION_FACES, _CALIBRATION_DRAWINGS = 16, 3


def release_upscaler(
    run: UpscalerTraining,
    patches: Patches,
    provenance: Provenance,
    folder: pathlib.Path,
    features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None = None,
    calibration: np.ndarray | None = None,
) -> Preset:
    """Writes the preset of an upscaler, with exports in all precisions.

    Args:
      run: A finished run.
      patches: The run's patches.
      provenance: Origin of the weights, for the card.
      folder: Folder of the preset; an earlier one is replaced.
      features: As for `UpscalerTraining`; without it the feature distance is not measured.
      calibration: Pictures for int8, as for `export_stylizer`.

    Returns:
      The preset. Its card has, for the held-out pictures of each folder, the peak signal-to-noise
      ratio and the feature distance of the upscaler and of bicubic interpolation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    card = {"name": provenance.name, "family": _FAMILY}
    preset = save_preset(folder, run.released(), card, overwrite=True)
    # The measures are of the weights on disk, which are float16.
    networks = preset.networks()
    exports = {
        precision: export_stylizer(networks, precision, calibration) for precision in PRECISIONS
    }
    names = ("portraits", "drawings")
    card = run_card(run, provenance) | {
        "family": _FAMILY,
        "macs": describe(exports["float32"]).macs,
        "data": data_card(patches, provenance, folder),
        "metrics": {
            name: measured(networks, pictures, features)
            for name, pictures in zip(names, patches.folders, strict=False)
            if pictures.held_out_names
        },
    }
    return save_preset(folder, networks, card, overwrite=True, exports=exports)


def calibration_pictures(side: int) -> np.ndarray:
    """Makes pictures to quantize an upscaler with: practice faces, and drawings of them.

    The drawings are those of the ready styles that the package knows.

    Args:
      side: Side of the pictures in pixels.

    Returns:
      float32 [count, side, side, 3] in [0, 1].
    """
    preset = Preset.find()
    photos = practice_pictures(preset.image_size, _CALIBRATION_FACES)
    pictures = list(photos.astype(np.float32) / 255.0)
    for index, name in enumerate(preset.ready_styles):
        model = LitertModel(preset.ready_stylizer(name), name)
        pictures += [
            model.run(pictures[(index + turn) % _CALIBRATION_FACES][np.newaxis])[0][0]
            for turn in range(_CALIBRATION_DRAWINGS)
        ]
    levels = np.rint(255.0 * np.clip(pictures, 0.0, 1.0)).astype(np.uint8)
    return at_side(levels, side).astype(np.float32) / 255.0


def measured(
    networks: UpscalerNetworks,
    pictures: PictureFolder,
    features: Callable[[tf.Tensor], Sequence[tf.Tensor]] | None = None,
) -> dict[str, dict[str, float]]:
    """Measures an upscaler beside bicubic interpolation, on at most 100 held-out pictures.

    Their middles, of at most 256 px, are reduced and enlarged again.

    Args:
      networks: The upscaler.
      pictures: Where the pictures come from.
      features: Maps pictures in [-1, 1] to feature maps; None measures no feature distance.

    Returns:
      For `upscaler` and `bicubic`: `psnr`, in dB, and `feature_distance`, 0 for equal pictures.
    """
    large = pictures.held_out(_MEASURED_PICTURES, min(_MEASURED_SIDE, pictures.held_out_side))
    ways = {
        "upscaler": enlarged(networks, large),
        "bicubic": bicubic(large, networks.config.scale),
    }
    result = {}
    for name, found in ways.items():
        result[name] = {"psnr": round(float(psnr(large, found).mean()), 3)}
        if features is not None:
            distances = [
                float(
                    losses.feature_distance(
                        *(features(from_pixels(x[i : i + _BATCH])) for x in (found, large))
                    )
                )
                for i in range(0, len(large), _BATCH)
            ]
            result[name]["feature_distance"] = round(float(np.mean(distances)), 4)
    return result
