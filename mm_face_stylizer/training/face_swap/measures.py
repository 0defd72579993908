"""Measures of swapped faces: whose face it is, whether pose and expression stayed, how real it is.

The three columns of Xu et al., "MobileFaceSwap" (2022), table 1, with networks that packages ship:
identity, head pose, and a Fréchet distance.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from mm_face_stylizer._keras import graph_function, tf
from mm_face_stylizer.evaluation.frechet import frechet_distance
from mm_face_stylizer.evaluation.identity import IdentitySpace
from mm_face_stylizer.evaluation.landmarks import (
    find_faces,
    inter_ocular_distance,
    landmark_error,
)
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.models.face_swap.identity import IdentityNetwork
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.training.face_swap.pairs import TEACHER_SIDE
from task_bundle.faces.alignment import Face
from task_bundle.faces.face_models import FaceModels

# The activation of EfficientNet-Lite0 whose means over pixels are compared.
_TAP = "expand5"
_BATCH = 8
# Mesh points that do not move with the expression: the nose, the eyes' corners, the forehead.
_RIGID = (1, 4, 5, 6, 9, 10, 33, 133, 151, 168, 195, 197, 234, 263, 362, 454)
# Of each eye its outer and inner corner and the middle of the iris; of the mouth its inner lips.
_EYES = ((33, 133, 468), (263, 362, 473))
_LIPS = (13, 14)


class Judge(Protocol):
    """A network in whose space pictures of one person lie close together."""

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Maps aligned faces, uint8 [count, side, side, 3], to [count, dimensions]."""


@dataclasses.dataclass(frozen=True)
class SwapMeasures:
    """Means over pairs of a source and a target.

    Attributes:
      pairs: Number of pairs.
      to_source: Distance of the picture to the source in the network that was trained with.
      to_target: Distance to the target in the same.
      nearer_to_source: Share of pictures that are nearer to the source.
      nearer_by_judge: The same by another network, which was not trained with.
      pose: Angle in degrees between the head's poses in picture and target.
      landmarks: Distance of landmarks to the target's, in units of the distance of the eyes.
      gaze: How far each iris moved between the corners of its eye, in units of the eye's width.
      mouth: By how much the mouth is open more or less wide than the target's, in units of the
        distance of the eyes.
      lost: Share of pictures in which no face is found; pose, landmarks, gaze and mouth are of the
        others.
      frechet: Fréchet distance of all pictures to the targets. Compare equal numbers of pairs only.
    """

    pairs: int
    to_source: float
    to_target: float
    nearer_to_source: float
    nearer_by_judge: float
    pose: float
    landmarks: float
    gaze: float
    mouth: float
    lost: float
    frechet: float


class SwapMeter:
    """Measures swapped faces; made once, used for many sets of pictures."""

    def __init__(
        self, identity: IdentityNetwork, face_models: FaceModels, judge: Judge | None = None
    ):
        """Loads the networks.

        Args:
          identity: The network that was trained with.
          face_models: The models that find faces.
          judge: Another network that tells people apart; the project's own projection if None.

        Raises:
          PerceptualWeightsError: The extra `perceptual` is not installed.
        """
        self._identity = identity
        self._judge: Judge = judge or IdentitySpace.load()
        self._face_models = face_models
        self._features = graph_function(perceptual_network((_TAP,)))

    def measure(
        self, pictures: np.ndarray, sources: np.ndarray, targets: np.ndarray
    ) -> SwapMeasures:
        """Measures pictures of pairs.

        Args:
          pictures: uint8 [pairs, side, side, 3].
          sources: A photo of each pair's source, of the same form.
          targets: The photos that were swapped, of the same form.
        """
        sets = tuple(_at_teacher_side(x) for x in (pictures, sources, targets))
        found, source, target = (self._identity.embed(x) for x in sets)
        to_source, to_target = (np.linalg.norm(found - x, axis=1) for x in (source, target))
        found, source, target = (self._judge.embed(x) for x in sets)
        by_judge = [np.linalg.norm(found - x, axis=1) for x in (source, target)]
        seen, wanted = (find_faces(x, self._face_models) for x in (sets[0], sets[2]))
        kept = np.array(
            [
                (
                    turning_angle(original.landmarks, face.landmarks),
                    landmark_error(original, face),
                    *_changes(original, face),
                )
                for face, original in zip(seen, wanted, strict=True)
                if face is not None and original is not None
            ]
        ).reshape(-1, 4)
        pose, landmarks, gaze, mouth = kept.mean(axis=0) if len(kept) else [float("nan")] * 4
        return SwapMeasures(
            pairs=len(pictures),
            to_source=float(to_source.mean()),
            to_target=float(to_target.mean()),
            nearer_to_source=float((to_source < to_target).mean()),
            nearer_by_judge=float((by_judge[0] < by_judge[1]).mean()),
            pose=float(pose),
            landmarks=float(landmarks),
            gaze=float(gaze),
            mouth=float(mouth),
            lost=1.0 - len(kept) / len(pictures),
            frechet=frechet_distance(*(self._described(x) for x in (sets[0], sets[2]))),
        )

    def _described(self, pictures: np.ndarray) -> np.ndarray:
        means = []
        for start in range(0, len(pictures), _BATCH):
            batch = pictures[start : start + _BATCH].astype(np.float32) / 127.5 - 1.0
            (maps,) = tf.nest.flatten(self._features(tf.constant(batch)))
            means.append(maps.numpy().mean(axis=(1, 2)))
        return np.concatenate(means)


def _changes(original: Face, face: Face) -> tuple[float, float]:
    """How far gaze and opening of the mouth are from the original's, see `SwapMeasures`."""
    gazes, mouths = [], []
    for points in (original.landmarks[:, :2], face.landmarks[:, :2]):
        gazes.append([_iris(*points[list(eye)]) for eye in _EYES])
        mouths.append(np.linalg.norm(np.subtract(*points[list(_LIPS)])))
    gaze = np.linalg.norm(np.subtract(*gazes), axis=1).mean()
    moved = abs(
        mouths[0] - mouths[1] * inter_ocular_distance(original) / inter_ocular_distance(face)
    )
    return float(gaze), float(moved / inter_ocular_distance(original))


def _iris(outer: np.ndarray, inner: np.ndarray, iris: np.ndarray) -> np.ndarray:
    """Where the iris is, along the line between the eye's corners and across it, [2]."""
    along = inner - outer
    across = np.array([-along[1], along[0]])
    return (iris - outer) @ np.stack([along, across], axis=1) / float(along @ along)


def turning_angle(first: np.ndarray, second: np.ndarray) -> float:
    """Angle in degrees of the rotation from one head's pose to another's.

    Source: Kabsch, "A solution for the best rotation to relate two sets of vectors" (1976).

    Args:
      first: Face mesh points, [>= 468, 3].
      second: The same points of the other face.
    """
    rigid = [points[list(_RIGID)] for points in (first, second)]
    centered = [points - points.mean(axis=0) for points in rigid]
    left, _, right = np.linalg.svd(centered[0].T @ centered[1])
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * signs) @ right
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))))


def _at_teacher_side(pictures: np.ndarray) -> np.ndarray:
    if pictures.shape[1] == TEACHER_SIDE:
        return pictures
    return np.stack([shrunk(picture, TEACHER_SIDE) for picture in pictures])
