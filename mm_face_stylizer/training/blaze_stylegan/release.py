"""Writes presets from finished training runs: mean latent, mapping network, metrics, card."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from mm_face_stylizer._keras import graph_function, keras
from mm_face_stylizer.evaluation import evaluate_reconstructions
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.blaze_stylegan.drawing import PHOTO_STYLE
from mm_face_stylizer.models.blaze_stylegan.networks import Networks
from mm_face_stylizer.models.weights import named_weights
from mm_face_stylizer.pixels import from_pixels
from mm_face_stylizer.preset import Preset, save_drawing, save_preset
from mm_face_stylizer.training.blaze_stylegan.distillation import Distillation
from mm_face_stylizer.training.blaze_stylegan.drawing_training import DrawingTraining
from mm_face_stylizer.training.blaze_stylegan.inversion import Inversion
from mm_face_stylizer.training.blaze_stylegan.mapping_fit import fit_mapping
from mm_face_stylizer.training.blaze_stylegan.painted_pairs import read_ready_styles
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
from mm_face_stylizer.training.blaze_stylegan.prior_training import PriorTraining, coarse_latents
from mm_face_stylizer.training.blaze_stylegan.reconstruction_sheet import reconstruction_sheet
from mm_face_stylizer.training.blaze_stylegan.teacher import TeacherTraining
from mm_face_stylizer.training.card import Provenance, data_card, run_card
from mm_face_stylizer.training.portraits import Portraits
from task_bundle.faces.face_models import FaceModels
from task_bundle.files import atomic_write
from task_bundle.tflite.model import describe

_SHEET_SIZE = 32
# Fields of a run's card that the card of the preset has anyway.
_PRESET_FIELDS = ("name", "licence", "start")


def release(
    run: Pretraining | Inversion,
    portraits: Portraits,
    provenance: Provenance,
    folder: pathlib.Path,
    face_models: FaceModels | None = None,
    mapping_rounds: int = 120,
    fit_prior: bool = True,
    start: Networks | None = None,
    strength: float = 1.0,
) -> Preset:
    """Finishes a run and writes its preset.

    Args:
      run: A finished run.
      portraits: The run's portraits.
      provenance: Origin of the weights, for the card.
      folder: Folder of the preset; an earlier one is replaced.
      face_models: Models that find the faces for the metrics; None takes the installed ones.
      mapping_rounds: Rounds of the mapping network's training; 0 leaves it and `w_avg` as they are,
        for networks of a teacher or an encoder that was not trained.
      fit_prior: Whether the face prior is fitted to the run's portraits; if not, it stays as it is.
      start: Networks that the run started from, for a strength below 1.
      strength: Fraction of the run's changes that the preset takes over, from 0 to 1.

    Returns:
      The preset.
    """
    keras.utils.set_random_seed(run.options.seed)
    # The run may convolve in bfloat16; released networks are float32.
    weights = run.networks.weights()
    if start is not None and strength < 1.0:
        weights = {
            name: weight + np.float32(strength) * (weights[name] - weight)
            for name, weight in start.weights().items()
        }
    networks = Networks.from_weights(run.networks.config, weights)
    if mapping_rounds:
        networks, latents = _centered(networks, portraits)
        latents = np.concatenate([latents, _w_plus(networks, portraits.training(), True)])
        fit_mapping(networks.mapping, latents, mapping_rounds, run.options.seed)
    if fit_prior:
        networks.prior.fit_latents(coarse_latents(networks, portraits.training()), whole=False)
    folder.mkdir(parents=True, exist_ok=True)
    preset = save_preset(folder, networks, {"name": provenance.name}, overwrite=True)
    # The metrics are of the weights on disk, which are float16.
    networks = preset.networks()
    photos = portraits.held_out()
    reconstructions = networks.reconstruct(photos)
    metrics = evaluate_reconstructions(photos, reconstructions, face_models)
    # The sheet lies beside the preset's folder, because its portraits must not be distributed.
    sheet = reconstruction_sheet(networks, portraits.held_out(_SHEET_SIZE), generated=True)
    sheet.save(folder.with_name(f"{provenance.name}_sheet.png"), overwrite=True)
    card = run_card(run, provenance) | {
        "macs": describe(export_stylizer(networks, "float32")).macs,
        "data": data_card(portraits, provenance, folder),
        "metrics": {"held_out_reconstruction": dataclasses.asdict(metrics)},
    }
    return save_preset(folder, networks, card, overwrite=True)


def _centered(networks: Networks, portraits: Portraits) -> tuple[Networks, np.ndarray]:
    """Moves the mean of all latents from the encoder into `w_avg`.

    Returns:
      The networks, and the portraits' w+ latents, which stay the same.
    """
    latents = _w_plus(networks, portraits.training(), False)
    mean = latents.mean(axis=0, keepdims=True)
    shift = mean - networks.w_avg
    bias = named_weights(networks.encoder)["latent/bias"]
    bias.assign_sub(shift[0, ::2].reshape(-1))
    return dataclasses.replace(networks, w_avg=mean), latents


def _w_plus(networks: Networks, photos: np.ndarray, mirrored: bool) -> np.ndarray:
    """Encodes photos, or their mirror images, to w+ latents [count, rows, 512]."""
    encode = graph_function(lambda batch: networks.latents(batch)["inputs"], reduce_retracing=True)
    step = -1 if mirrored else 1
    return np.concatenate(
        [
            encode(from_pixels(photos[start : start + 32, :, ::step])).numpy()
            for start in range(0, len(photos), 32)
        ]
    )


def release_teacher(
    run: TeacherTraining, portraits: Portraits, provenance: Provenance, folder: pathlib.Path
) -> Preset:
    """Finishes a teacher's training and writes its weights, with `w_avg` measured exactly.

    Args:
      run: A finished run.
      portraits: The run's portraits.
      provenance: Origin of the weights, for the card.
      folder: Folder of the weights; earlier ones are replaced.

    Returns:
      Weights and card, for `Teacher.load`.
    """
    return _unmeasured(run, run.teacher.with_exact_mean(), portraits, provenance, folder)


def release_student(
    run: Distillation, portraits: Portraits, provenance: Provenance, folder: pathlib.Path
) -> Preset:
    """Finishes a distillation and writes a preset whose encoder is not trained yet.

    Args:
      run: A finished run.
      portraits: The run's portraits.
      provenance: Origin of the weights, for the card.
      folder: Folder of the preset; an earlier one is replaced.

    Returns:
      The preset, for `Inversion`.
    """
    return _unmeasured(run, run.networks, portraits, provenance, folder)


def release_prior(
    run: PriorTraining,
    start: Preset,
    portraits: Portraits,
    provenance: Provenance,
    folder: pathlib.Path,
) -> Preset:
    """Finishes a training of the face prior: the preset that it started from, with another prior.

    Args:
      run: A finished run.
      start: The preset.
      portraits: The run's portraits.
      provenance: Origin of the weights, for the card.
      folder: Folder of the new preset; an earlier one is replaced.

    Returns:
      The preset. Its card is that of `start`, without the metrics that depend on the prior, and
      says under `prior` how the prior was trained.
    """
    networks = run.released()
    folder.mkdir(parents=True, exist_ok=True)
    sheet = reconstruction_sheet(networks, portraits.held_out(_SHEET_SIZE), generated=True)
    sheet.save(folder.with_name(f"{provenance.name}_sheet.png"), overwrite=True)
    prior = run_card(run, provenance) | {"data": data_card(portraits, provenance, folder)}
    prior = {name: value for name, value in prior.items() if name not in _PRESET_FIELDS}
    metrics = start.card.get("metrics", {})
    kept = {name: metrics[name] for name in ("held_out_reconstruction",) if name in metrics}
    card = start.card | {"name": provenance.name, "prior": prior, "metrics": kept}
    return save_preset(folder, networks, card, overwrite=True)


def release_drawing(
    run: DrawingTraining,
    start: Preset,
    provenance: Provenance,
    style_list: pathlib.Path,
    folder: pathlib.Path,
) -> Preset:
    """Writes the preset that a training of a drawing network started from, with that network.

    Args:
      run: A run; it need not be over.
      start: The preset.
      provenance: Origin of the weights, for the card.
      style_list: The list of style pictures, which is kept beside the weights.
      folder: Folder of the preset; an earlier one is replaced.

    Returns:
      The preset, whose card says under `drawing` what trained the network.
    """
    networks = start.networks()
    preset = save_preset(folder, networks, start.card | {"name": provenance.name}, overwrite=True)
    atomic_write(folder / "drawing.csv", style_list.read_bytes(), overwrite=True)
    card = run_card(run, provenance)
    card = {name: value for name, value in card.items() if name not in _PRESET_FIELDS}
    card |= {"list": "drawing.csv", "ready": read_ready_styles(style_list)}
    # The export is of the weights as they are stored, so that ready styles have the same bytes as
    # an export of the preset.
    drawing = save_drawing(preset, run.released(), card).drawing()
    photo = export_stylizer(drawing.stylizer(networks, drawing.code(PHOTO_STYLE)))
    return save_drawing(preset, drawing, card, {PHOTO_STYLE: photo})


def _unmeasured(run, networks, portraits, provenance, folder) -> Preset:
    """Writes networks that have no metrics, because they cannot reconstruct photos."""
    folder.mkdir(parents=True, exist_ok=True)
    card = run_card(run, provenance) | {"data": data_card(portraits, provenance, folder)}
    return save_preset(folder, networks, card, overwrite=True)
