"""What tests of translators share: pictures, features and paintings at next to no cost."""

from __future__ import annotations

import concurrent.futures
import pathlib

import numpy as np
import pytest
from tiny import write_pictures

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.parts import Part, macs_of, parts_of
from mm_face_stylizer.training.translator import domains as domains_module
from mm_face_stylizer.training.translator import pairs as pairs_module
from mm_face_stylizer.training.translator.domains import Domains
from mm_face_stylizer.training.translator.latency_table import LatencyTable

CONFIG = TranslatorConfig(
    image_size=32, stem=8, down=(8, 12), blocks=(8, 12), up=(8, 8), attention=1
)
# The largest network of a search.
LARGEST = TranslatorConfig(
    image_size=32, stem=16, down=(16, 24), blocks=(24, 16, 24), up=(16, 16), attention=1
)


def features(picture: tf.Tensor) -> list[tf.Tensor]:
    """Stands in for a perceptual network: differences of neighbors, and means of four."""
    return [tf.abs(picture - tf.roll(picture, 1, axis=2)), tf.nn.avg_pool2d(picture, 2, 2, "SAME")]


def two_domains(folder: pathlib.Path) -> Domains:
    """Writes pictures of two domains, which show no faces, and opens them."""
    folders = [write_pictures(folder / name, 32, 60) for name in ("photos", "style")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(domains_module, "_check_faces", lambda *_: None)
        return Domains(*folders, folder / "cache", 32)


class _InThisProcess:
    """Stands in for a pool of processes, whose start takes seconds."""

    def __init__(self, workers, initializer, arguments):
        initializer(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        done: concurrent.futures.Future = concurrent.futures.Future()
        done.set_result(function(*arguments))
        return done


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pairs of pictures be made without further processes."""
    monkeypatch.setattr(pairs_module, "worker_pool", _InThisProcess)


class InvertedPairs:
    """Stands in for `Paintings`: a painting is the photo's negative."""

    def __init__(self, domains: Domains):
        self._domains = domains

    def batch(self, size: int, seed: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns photos, paintings and masks of faces, which lie in the middle."""
        photos, _ = self._domains.batch(size, seed, step)
        masks = np.zeros((*photos.shape[:3], 1), np.uint8)
        quarter = photos.shape[1] // 4
        masks[:, quarter:-quarter, quarter:-quarter] = 255
        return photos, 255 - photos, masks

    def card(self) -> dict[str, str]:
        """Says where they come from."""
        return {"made": "by inversion"}

    def pictures_of(self, photos: np.ndarray) -> None:
        """Knows no other pairs."""


def milliseconds(part: Part) -> float:
    """The latency that an imaginary device has for a part."""
    return 0.01 + macs_of(part) / 2e7


def network_milliseconds(config: TranslatorConfig) -> float:
    """The latency of a translator on that device, whose parts run faster together."""
    return 0.9 * sum(map(milliseconds, parts_of(config)))


def imaginary_table() -> LatencyTable:
    """The table of that device."""
    random = np.random.default_rng(0)
    parts = []
    for part in parts_of(LARGEST):
        for _ in range(12):
            inputs, outputs = (
                count if count == 3 else int(random.integers(8, count + 1))
                for count in (part.inputs, part.outputs)
            )
            parts.append(Part(part.kind, part.side, inputs, outputs, part.kernel))
    networks = (CONFIG, LARGEST)
    return LatencyTable(
        "imaginary",
        32,
        1,
        "float32",
        tuple((part, milliseconds(part)) for part in parts),
        tuple((config, network_milliseconds(config)) for config in networks),
    )
