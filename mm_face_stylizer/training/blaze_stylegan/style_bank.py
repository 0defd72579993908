"""The style pictures of few-shot training, with their features.

None of these change during training, so they are computed once, before the first step.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer._keras import tf
from mm_face_stylizer.models.blaze_stylegan.networks import (
    Networks,
    joined,
    rows_of,
    without_detail,
)
from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
from mm_face_stylizer.models.patch_discriminator import Discriminator
from mm_face_stylizer.pixels import from_pixels
from mm_face_stylizer.training import losses
from mm_face_stylizer.training.blaze_stylegan.shifts import random_shifts, shifted, unshifted

# The shallow maps of the face mesh respond to strokes, the deep ones to what identifies a face.
SHALLOW, DEEP = slice(0, 3), slice(3, 6)
_VIEWS = 4
_PALETTE = 96


@dataclasses.dataclass(frozen=True)
class StyleBank:
    """Style pictures and their features as arrays, one row per picture.

    Attributes:
      pictures: [count, side, side, 3] in [-1, 1], empty borders inpainted.
      masks: [count, side, side, 1], 1 where a picture has content of its own.
      latents: The encoder's latents by name, with zeros for the fine spatial ones, which would let
        the synthesis network copy the picture without learning to draw it.
      palettes: Colors sampled from each picture, [count, 96, 3].
      traits: Means of the discriminator's feature maps over pixels, [count, channels] each.
      landmarks: The face mesh, [count, 468, 2] as fractions of the side.
      shifts: Shift of each of four views, int32 [count, 4, 2]; see `shifts.py`.
      features: Face-mesh features of the views, [count, 4, ...] each, of brightness only,
        because other terms compare the colors.
      grams: Gram matrices of the shallow ones.
    """

    pictures: np.ndarray
    masks: np.ndarray
    latents: dict[str, np.ndarray]
    palettes: np.ndarray
    traits: list[np.ndarray]
    landmarks: np.ndarray
    shifts: np.ndarray
    features: list[np.ndarray]
    grams: list[np.ndarray]

    @classmethod
    def from_pictures(
        cls,
        networks: Networks,
        face_mesh: FaceMeshFeatures,
        images: np.ndarray,
        masks: np.ndarray | None,
        random: np.random.Generator,
    ) -> StyleBank:
        """Computes the features of style pictures.

        Args:
          networks: The preset's networks.
          face_mesh: Perceptual space.
          images: uint8 [count, side, side, 3], aligned.
          masks: [count, side, side], true where a picture has content; everywhere if None.
          random: Draws shifts and palettes.
        """
        pictures, masks = _prepared(images, masks)
        shifts = random_shifts(random, len(pictures) * _VIEWS).reshape(-1, _VIEWS, 2)

        def features_of(picture, shifts):
            views = tf.repeat(picture, _VIEWS, axis=0)
            mesh = face_mesh(losses.brightness(shifted(views, shifts)))
            latents = without_detail(networks.latents(picture))
            grams = [losses.gram_matrix(feature) for feature in mesh.features[SHALLOW]]
            traits = [trait[0] for trait in mean_features(networks.discriminator, picture)]
            return latents, mesh.landmarks, mesh.features, grams, traits

        rows = [
            features_of(picture[np.newaxis], shift)
            for picture, shift in zip(pictures, shifts, strict=True)
        ]
        latents, landmarks, features, grams, traits = zip(*rows, strict=True)
        return cls(
            pictures=pictures,
            masks=masks,
            latents=joined(latents),
            palettes=_palettes(pictures, masks, random),
            traits=_stacked(traits),
            landmarks=unshifted(np.stack(landmarks)[:, 0], shifts[:, 0], pictures.shape[1]),
            shifts=shifts,
            features=_stacked(features),
            grams=_stacked(grams),
        )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def rows(self, indices: np.ndarray, views: np.ndarray) -> dict:
        """Selects pictures, one view of each; returns a dictionary with the attributes' names."""
        return {
            "pictures": self.pictures[indices],
            "masks": self.masks[indices],
            "latents": rows_of(self.latents, indices),
            "palettes": self.palettes[indices],
            "traits": [trait[indices] for trait in self.traits],
            "shifts": self.shifts[indices, views],
            "features": [feature[indices, views] for feature in self.features],
            "grams": [gram[indices, views] for gram in self.grams],
        }

    def draw(self, random: np.random.Generator, count: int) -> dict:
        """Draws pictures and views at random; see `rows`."""
        return self.rows(random.integers(0, len(self), count), random.integers(0, _VIEWS, count))


def mean_features(discriminator: Discriminator, images: tf.Tensor) -> list[tf.Tensor]:
    """Averages the discriminator's feature maps over pixels: [batch, channels] for each layer.

    Such means characterize a style without depending on where things are in the picture.
    """
    return [tf.reduce_mean(maps, axis=(1, 2)) for maps in discriminator.features(images)]


def _stacked(rows) -> list[np.ndarray]:
    return [np.stack(part) for part in zip(*rows, strict=True)]


def _prepared(images: np.ndarray, masks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns style pictures in [-1, 1] with their empty borders inpainted, and float masks."""
    import cv2

    if masks is None:
        masks = np.ones(images.shape[:3], bool)
    filled = [
        image
        if mask.all() or not mask.any()
        else cv2.inpaint(image, np.uint8(~mask), 3, cv2.INPAINT_TELEA)
        for image, mask in zip(images, masks, strict=True)
    ]
    pictures = from_pixels(np.stack(filled)).numpy()
    return pictures, masks[..., np.newaxis].astype(np.float32)


def _palettes(pictures, masks, random):
    """Samples colors from each picture at half its resolution, [count, _PALETTE, 3]."""
    palettes = []
    for picture, mask in zip(pictures, masks, strict=True):
        colors = tf.nn.avg_pool2d(picture[np.newaxis], 2, 2, "VALID").numpy()[0]
        inside = mask[::2, ::2, 0].astype(bool)[: colors.shape[0], : colors.shape[1]]
        candidates = colors[inside] if inside.any() else colors.reshape(-1, 3)
        palettes.append(candidates[random.integers(0, len(candidates), _PALETTE)])
    return np.stack(palettes)
