"""Writes the preset of a translator from a finished training, with measures."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from mm_face_stylizer._keras import graph_function, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.evaluation.kernel_distance import kernel_distance
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.efficientnet_lite import PerceptualWeightsError, perceptual_network
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.preset import Preset, save_preset
from mm_face_stylizer.training.card import Provenance, data_card, run_card
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.translator_training import TranslatorTraining
from task_bundle.faces.alignment import FaceFinder
from task_bundle.faces.face_models import FaceModels
from task_bundle.tflite.model import describe

FAMILY = "translator"
_MEASURED = 100
_BATCH = 8
_COLUMNS = 10
# The deepest activation of EfficientNet-Lite0, as Inception's last is for other kernel distances.
_TAP, _SIDE = "expand15", 256


def release_translator(
    run: TranslatorTraining,
    domains: Domains,
    provenance: Provenance,
    folder: pathlib.Path,
    face_models: FaceModels | None = None,
    further: dict[str, Any] | None = None,
) -> Preset:
    """Writes the preset of a translator.

    Args:
      run: A finished run.
      domains: The run's pictures.
      provenance: Origin of the weights, for the card.
      folder: Folder of the preset; an earlier one is replaced.
      face_models: The models that find faces; `find_face_models()` if None.
      further: Further fields of the card.

    Returns:
      The preset. Its card has what `measured` measures, and of a teacher the same and the mean
      absolute difference to its pictures, in [0, 1]; the sheet `held_out.png` shows them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    networks = run.released()
    networks = networks.balanced(networks.calibration_pictures())
    card = {"name": provenance.name, "family": FAMILY}
    preset = save_preset(folder, networks, card, overwrite=True)
    # The measures are of the weights on disk, which are float16.
    networks = preset.networks()
    photos, styles = domains.held_out(_MEASURED)
    pictures = translated(networks, photos)
    taught = None if run.paintings is None else run.paintings.pictures_of(photos)
    shown = (photos, pictures) if taught is None else (photos, taught, pictures)
    rows = [
        list(some[start : start + _COLUMNS])
        for start in range(0, len(photos), _COLUMNS)
        for some in shown
    ]
    ContactSheet(rows).save(folder / "held_out.png", side=128, overwrite=True)
    card = run_card(run, provenance) | {
        "family": FAMILY,
        "macs": describe(export_stylizer(networks, "float32")).macs,
        "data": data_card(domains, provenance, folder) | {"held_out_rule": domains.held_out_rules},
        "metrics": measured(photos, pictures, styles, face_models),
    }
    if taught is not None:
        difference = np.abs(pictures.astype(np.float32) - taught).mean() / 255.0
        card["metrics"] |= {
            "difference_to_teacher": round(float(difference), 4),
            "teacher": measured(photos, taught, styles, face_models),
        }
    if run.paintings is not None:
        card |= run.paintings.card()
    return save_preset(folder, networks, card | (further or {}), overwrite=True)


def translated(networks: TranslatorNetworks, photos: np.ndarray) -> np.ndarray:
    """Translates photos.

    Args:
      networks: The translator.
      photos: uint8 [count, side, side, 3].

    Returns:
      uint8 of the same shape.
    """
    translate = graph_function(lambda batch: networks.network(batch), reduce_retracing=True)
    batches = [
        translate(from_pixels(photos[start : start + _BATCH])).numpy()
        for start in range(0, len(photos), _BATCH)
    ]
    return to_pixels(np.concatenate(batches))


def measured(
    photos: np.ndarray,
    pictures: np.ndarray,
    styles: np.ndarray,
    face_models: FaceModels | None = None,
) -> dict[str, Any]:
    """Measures translated portraits.

    Args:
      photos: uint8 [count, side, side, 3].
      pictures: What a translator makes of them, uint8 of the same shape.
      styles: Pictures of the style, uint8 [styles, side, side, 3].
      face_models: The models that find faces; `find_face_models()` if None.

    Returns:
      `people` and `styles`, the numbers of pictures; `face_found`, the share of translated
      portraits in which a face is found, and `face_found_in_styles`; and if the weights of
      EfficientNet-Lite0
      are installed and there are enough pictures, `kernel_distance` of translated portraits to the
      style with its 95 % interval, `kernel_distance_of_photos`, and their ratio.
    """
    result: dict[str, Any] = {"people": len(photos), "styles": len(styles)}
    with FaceFinder(face_models) as finder:
        for name, some in (("face_found", pictures), ("face_found_in_styles", styles)):
            found = [bool(finder.find_with_margins(picture)) for picture in some]
            result[name] = round(float(np.mean(found)), 3)
    if min(len(photos), len(styles)) < 4:
        return result
    try:
        network = perceptual_network((_TAP,))
    except PerceptualWeightsError:
        return result

    @graph_function
    def features(batch):
        # With a single tap, Keras returns the map itself and no list.
        (deepest,) = tf.nest.flatten(network(tf.image.resize(batch, (_SIDE, _SIDE))))
        return tf.reduce_mean(deepest, axis=(1, 2))

    described = [
        np.concatenate(
            [
                features(from_pixels(some[start : start + _BATCH])).numpy()
                for start in range(0, len(some), _BATCH)
            ]
        )
        for some in (photos, pictures, styles)
    ]
    own, ours = (kernel_distance(x, described[2]) for x in described[:2])
    return result | {
        "kernel_distance": round(ours.value, 5),
        "kernel_distance_interval": [round(x, 5) for x in ours.interval],
        "kernel_distance_of_photos": round(own.value, 5),
        "kernel_distance_ratio": round(ours.value / own.value, 3),
    }
