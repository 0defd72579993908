"""The generated faces of few-shot training, with what each must keep and what it should become.

The preset draws them. Everything here is computed once, before the first step.
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

# Weight of eyes, brows and mouth in the analogy. They identify a person, so they are copied less.
_FEATURE_WEIGHT = 0.15
# Gain on the relief of faces, because drawings have stronger contrast than photos.
_RELIEF_GAIN = 1.5
# Ranges of random changes with which the faces' tones and colors vary as those of photos do.
_SATURATION, _CONTRAST, _BRIGHTNESS = (0.4, 1.2), (0.8, 1.3), (-0.2, 0.2)
_LIGHTS = (_SATURATION, _CONTRAST, _BRIGHTNESS)
# Root mean square of photos' bands of detail, by side in pixels. Generated faces have a third of
# the finest and half of the others, and a network tuned on them alone would leave the detail of
# photos as it is, instead of replacing it by the style's.
_PHOTO_DETAIL = {256: 0.038, 128: 0.062, 64: 0.094, 32: 0.135, 16: 0.179}
_DETAIL, _DETAIL_LIMIT = (0.5, 1.2), 4.0


@dataclasses.dataclass(frozen=True)
class FaceBank:
    """Generated faces as arrays, one row per face.

    The largest, `latents`, `relief` and `painted`, are float16.

    Attributes:
      latents: Inputs of the synthesis network by name.
      style: Index of the style picture that each face is matched with.
      shifts: Shift of each face before the face mesh sees it, int32 [count, 2]; see `shifts.py`.
      deep: Deep face-mesh features of the shifted faces before tuning.
      landmarks: Landmarks of the shifted faces, as fractions of the side.
      relief: `losses.relief` of the faces, amplified, [count, side, side, 1].
      features: Mask of eyes, brows and mouth, [count, 64, 64, 1] in [0, 1].
      coarse: The faces before tuning at 64 px.
      painted: The faces painted by analogy with their style picture, [count, side, side, 3].
      colors: `painted` at 64 px.
      trust: Weight of `painted` at each place, [count, 64, 64, 1] in [0, 1].
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
    colors: np.ndarray
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
        """Generates faces and paints them in the style.

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
        style = _match_by_skin_tone(guides, style_guides)
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
            colors=tf.image.resize(paintings, (ANALOGY_SIDE,) * 2, "area").numpy(),
            trust=1.0 - (1.0 - _FEATURE_WEIGHT) * features,
        )

    def rows(self, indices: np.ndarray) -> dict:
        """Selects faces; returns a dictionary with the names of the attributes, in float32."""
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
    """Draws a factor or summand per picture, uniform within limits, [count, 1, 1, 1]."""
    return random.uniform(*limits, (count, 1, 1, 1))


def _lit(
    faces: np.ndarray, saturation: np.ndarray, contrast: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Varies saturation, contrast and brightness, because generated faces are dull."""
    gray = faces.mean(axis=-1, keepdims=True)
    colored = gray + saturation * (faces - gray)
    mean = faces.mean(axis=(1, 2, 3), keepdims=True)
    lit = mean + contrast * (colored - mean) + light
    return np.clip(lit, -1.0, 1.0).astype(np.float32)


def _detailed(faces: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Amplifies the detail of faces, band by band, to a share of what photos have."""
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


def _match_by_skin_tone(faces: Sequence[Guide], styles: Sequence[Guide]) -> np.ndarray:
    """Matches each face with a style picture of similar skin tone; returns the styles' indices.

    Both are ordered by brightness, and the darkest faces get the darkest style. With random
    matches, light and dark would average to a skin that no style picture has.
    """
    face_order = np.argsort([face.skin for face in faces], kind="stable")
    style_order = np.argsort([style.skin for style in styles], kind="stable")
    result = np.empty(len(faces), int)
    result[face_order] = style_order[np.arange(len(faces)) * len(styles) // len(faces)]
    return result
