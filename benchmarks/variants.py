"""Exports stylizers to measure. This module is the only one here that needs TensorFlow."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from benchmarks.subject import LoadedSubject
from task_bundle import TaskBundle, find_face_models

_LARGE = "512"


def export_variants(names: Sequence[str]) -> dict[str, LoadedSubject]:
    """Exports released presets.

    Args:
      names: 'float32', 'float16' or 'int8' for the 256 px preset with weights of that type; '512'
        for the 512 px preset with float16 weights.

    Returns:
      Bundles by name.

    Raises:
      FaceModelsError: there are no face models to pack into the bundles.
      ImportError: TensorFlow is not installed.
      PresetError: a preset is damaged.
    """
    from mm_face_stylizer.export import export_stylizer
    from mm_face_stylizer.preset import Preset

    @functools.cache
    def trained(side: int) -> Any:
        preset: Any = Preset.find(f"blaze_face_stylizer_{side}")
        return preset.networks()

    face_models = find_face_models()
    exported = {}
    for name in names:
        side, precision = (512, "float16") if name == _LARGE else (256, name)
        title = f"preset-{side}-{precision}"
        bundle = TaskBundle.build(export_stylizer(trained(side), precision), face_models)
        exported[name] = LoadedSubject.of(bundle.to_bytes(), f"{title}.task", title)
    return exported


def export_resolution(side: int, batch: int = 1) -> LoadedSubject:
    """Exports an untrained stylizer, which is as fast as a trained one.

    Args:
      side: Side of its pictures in pixels.
      batch: Number of pictures in one call.

    Returns:
      A single model with float16 weights.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    from mm_face_stylizer.export import convert

    stylizer = _untrained(side).inference()
    model = convert(stylizer, [(batch, stylizer.side, stylizer.side, 3)])
    title = f"untrained-{side}-batch-{batch}" if batch > 1 else f"untrained-{side}"
    return LoadedSubject.of(model, f"{title}.tflite", title)


def _untrained(side: int) -> Any:
    from mm_face_stylizer._keras import keras
    from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig
    from mm_face_stylizer.models.blaze_stylegan.networks import Networks

    keras.utils.set_random_seed(0)
    return Networks.build(NetworksConfig(image_size=side))
