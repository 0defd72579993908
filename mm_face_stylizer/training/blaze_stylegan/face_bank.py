"""The faces that few-shot training practises on: what must stay of each, what it should become.

They do not exist: the preset draws them. Everything here is computed once, before the first step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.blaze_stylegan.networks import Networks, joined, rows_of
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.blaze_stylegan.analogies import (
    ANALOGY_SIDE,
    Guide,
    analogy,
    painted,
)
from mm_face_stylizer.training.blaze_stylegan.shifts import random_shifts, shifted, unshifted
from mm_face_stylizer.training.blaze_stylegan.style_bank import DEEP, StyleBank

# Weight of eyes, brows and mouth in the analogy: whose they are matters more than how painted.
_FEATURE_WEIGHT = 0.15
# Drawings are bolder than photos.
_RELIEF_GAIN = 1.5
# Such that tones and colours spread as they do in photos.
_SATURATION, _CONTRAST, _BRIGHTNESS = (0.4, 1.2), (0.8, 1.3), (-0.2, 0.2)
_LIGHTS = (_SATURATION, _CONTRAST, _BRIGHTNESS)
# Root mean square of photos' bands of detail, by side in pixels. Drawn faces have a third of the
# finest and half of the others: a network that has practised on them alone leaves a photo's detail
# as it is, whatever the style has in its place.
_PHOTO_DETAIL = {256: 0.038, 128: 0.062, 64: 0.094, 32: 0.135, 16: 0.179}
_DETAIL, _DETAIL_LIMIT = (0.5, 1.2), 4.0


@dataclasses.dataclass(frozen=True)
class FaceBank:
    """Faces as arrays, one row a face; the largest, `latents`, `relief` and `painted`, in float16.

    Attributes:
      latents: What the synthesis network draws each from.
      style: Index of the style picture that each is to be painted like.
      shifts: By how much the face mesh sees each shifted, int32 [count, 2]; see `shifts.py`.
      deep: The untuned faces' deep face-mesh features, shifted.
      landmarks: Their landmarks, shifted, as fractions of the side.
      relief: Their light and dark, [count, side, side, 1], amplified.
      features: Where eyes, brows and mouth are, [count, 64, 64, 1] in [0, 1].
      coarse: The untuned faces at 64 px.
      painted: The faces by analogy with their style picture, [count, side, side, 3].
      colours: `painted` at 64 px.
      trust: How much `painted` counts where, [count, 64, 64, 1].
    """

    latents: dict[str, np.ndarray]
    style: np.ndarray
    shifts: np.ndarray
    deep: list[np.ndarray]
    landmarks: np.ndarray
    relief: np.ndarray
    features: np.ndarray
    coarse: np.ndarray
    painted: np.ndarray
    colours: np.ndarray
    trust: np.ndarray

    @classmethod
    def draw(
        cls,
        networks: Networks,
        face_mesh: FaceMeshFeatures,
        styles: StyleBank,
        count: int,
        seed: int,
    ) -> FaceBank:
        """Draws faces and paints them in the style.

        Args:
          networks: The preset's networks.
          face_mesh: Perceptual space.
          styles: The style pictures.
          count: Number of faces.
          seed: Seed of faces and shifts.
        """
        random = np.random.default_rng(seed)
        lights = [_drawn(random, limits, count) for limits in _LIGHTS]
        details = _drawn(random, _DETAIL, count)
        shifts = random_shifts(random, count)

        def look(faces, shifts):
            latents = networks.latents(faces)
            images = networks.synthesis(latents)["image"][-1]
            mesh = face_mesh(losses.brightness(shifted(images, shifts)))
            return latents, images, mesh.landmarks, mesh.features[DEEP], losses.relief(images)

        guides: list[Guide] = []
        parts = []
        for drawn in networks.generated_batches(count, seed):
            rows = slice(len(guides), len(guides) + len(drawn))
            lit = _lit(drawn, *(light[rows] for light in lights))
            latents, images, landmarks, deep, relief = look(
                _detailed(lit, details[rows]), shifts[rows]
            )
            side = images.shape[1]
            guides += _guides(images.numpy(), unshifted(landmarks.numpy(), shifts[rows], side))
            compact = {name: np.float16(value) for name, value in latents.items()}
            parts.append((compact, landmarks.numpy(), deep, np.float16(_RELIEF_GAIN * relief)))
        latents, landmarks, deep, relief = zip(*parts, strict=True)
        style_guides = _guides(styles.pictures, styles.landmarks)
        style = _of_its_like(guides, style_guides)
        features = np.stack([face.features for face in guides])
        paintings = np.empty((count, *styles.pictures.shape[1:]), np.float16)
        for painting, face, index in zip(paintings, guides, style, strict=True):
            painting[:] = painted(styles.pictures[index], analogy(face, style_guides[index]))
        return cls(
            latents=joined(latents),
            style=style,
            shifts=shifts,
            deep=[np.concatenate(maps) for maps in zip(*deep, strict=True)],
            landmarks=np.concatenate(landmarks),
            relief=np.concatenate(relief),
            features=features,
            coarse=np.stack([face.picture for face in guides]),
            painted=paintings,
            colours=tf.image.resize(paintings, (ANALOGY_SIDE,) * 2, "area").numpy(),
            trust=1.0 - (1.0 - _FEATURE_WEIGHT) * features,
        )

    def rows(self, indices: np.ndarray) -> dict:
        """Some of the faces, as a dictionary of the same names, in float32."""
        rows = {
            field.name: getattr(self, field.name)[indices]
            for field in dataclasses.fields(self)
            if field.name not in ("latents", "deep")
        }
        rows["latents"] = rows_of(self.latents, indices)
        rows["deep"] = [feature[indices] for feature in self.deep]
        return tf.nest.map_structure(_in_full, rows)


def _in_full(rows: np.ndarray) -> np.ndarray:
    return np.float32(rows) if rows.dtype == np.float16 else rows


def _drawn(random: np.random.Generator, limits: tuple[float, float], count: int) -> np.ndarray:
    """A factor or a summand for each of some pictures."""
    return random.uniform(*limits, (count, 1, 1, 1))


def _lit(
    faces: np.ndarray, saturation: np.ndarray, contrast: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Faces in the lights that photos are taken in: drawn ones are duller."""
    grey = faces.mean(axis=-1, keepdims=True)
    coloured = grey + saturation * (faces - grey)
    mean = faces.mean(axis=(1, 2, 3), keepdims=True)
    lit = mean + contrast * (coloured - mean) + light
    return np.clip(lit, -1.0, 1.0).astype(np.float32)


def _detailed(faces: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Faces with as much detail as photos have: what there is of it, amplified band by band."""
    levels = int(math.log2(faces.shape[1] / min(_PHOTO_DETAIL))) + 2
    *bands, detailed = losses.laplacian_bands(tf.constant(faces), levels)
    for band in reversed(bands):
        present = tf.sqrt(tf.reduce_mean(tf.square(band), axis=(1, 2, 3), keepdims=True))
        wanted = _PHOTO_DETAIL.get(band.shape[1], 0.0) * share.astype(np.float32)
        gain = tf.clip_by_value(wanted / (present + 1e-6), 1.0, _DETAIL_LIMIT)
        detailed = tf.image.resize(detailed, band.shape[1:3]) + gain * band
    return np.clip(detailed, -1.0, 1.0)


def _guides(images: np.ndarray, landmarks: np.ndarray) -> list[Guide]:
    return [Guide.of(*pair) for pair in zip(images, landmarks, strict=True)]


def _of_its_like(faces: Sequence[Guide], styles: Sequence[Guide]) -> np.ndarray:
    """For each face a style picture of its like: the darkest skins to the darkest, and so on.

    At random, light and dark would average to a skin that no style picture has.
    """
    face_order = np.argsort([face.skin for face in faces], kind="stable")
    style_order = np.argsort([style.skin for style in styles], kind="stable")
    result = np.empty(len(faces), int)
    result[face_order] = style_order[np.arange(len(faces)) * len(styles) // len(faces)]
    return result
