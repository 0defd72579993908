"""Measures of swapped faces: whose face it is, whether pose and expression stayed, how real it is.

The three columns of Xu et al., "MobileFaceSwap" (2022), table 1, with networks that packages ship:
identity, head pose, and a Fréchet distance.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mm_face_stylizer._keras import graph_function, tf
from mm_face_stylizer.evaluation.frechet import frechet_distance
from mm_face_stylizer.evaluation.identity import IdentitySpace
from mm_face_stylizer.evaluation.landmarks import find_faces, landmark_error
from mm_face_stylizer.models.efficientnet_lite import perceptual_network
from mm_face_stylizer.models.face_swap.identity import IdentityNetwork
from mm_face_stylizer.pixels import shrunk
from mm_face_stylizer.training.face_swap.pairs import TEACHER_SIDE
from task_bundle.faces.face_models import FaceModels

# The activation of EfficientNet-Lite0 whose means over pixels are compared.
_TAP = "expand5"
_BATCH = 8
# Mesh points that do not move with the expression: the nose, the eyes' corners, the forehead.
_RIGID = (1, 4, 5, 6, 9, 10, 33, 133, 151, 168, 195, 197, 234, 263, 362, 454)


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
      lost: Share of pictures in which no face is found; pose and landmarks are of the others.
      frechet: Fréchet distance of all pictures to the targets. Compare equal numbers of pairs only.
    """

    pairs: int
    to_source: float
    to_target: float
    nearer_to_source: float
    nearer_by_judge: float
    pose: float
    landmarks: float
    lost: float
    frechet: float


class SwapMeter:
    """Measures swapped faces; made once, used for many sets of pictures."""

    def __init__(self, identity: IdentityNetwork, face_models: FaceModels):
        """Loads the networks.

        Args:
          identity: The network that was trained with.
          face_models: The models that find faces.

        Raises:
          PerceptualWeightsError: The extra `perceptual` is not installed.
        """
        self._identity = identity
        self._judge = IdentitySpace.load()
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
        poses, errors = [], []
        seen, wanted = (find_faces(x, self._face_models) for x in (sets[0], sets[2]))
        for face, original in zip(seen, wanted, strict=True):
            if face is not None and original is not None:
                poses.append(turning_angle(original.landmarks, face.landmarks))
                errors.append(landmark_error(original, face))
        return SwapMeasures(
            pairs=len(pictures),
            to_source=float(to_source.mean()),
            to_target=float(to_target.mean()),
            nearer_to_source=float((to_source < to_target).mean()),
            nearer_by_judge=float((by_judge[0] < by_judge[1]).mean()),
            pose=float(np.mean(poses)) if poses else float("nan"),
            landmarks=float(np.mean(errors)) if errors else float("nan"),
            lost=1.0 - len(errors) / len(pictures),
            frechet=frechet_distance(*(self._described(x) for x in (sets[0], sets[2]))),
        )

    def _described(self, pictures: np.ndarray) -> np.ndarray:
        means = []
        for start in range(0, len(pictures), _BATCH):
            batch = pictures[start : start + _BATCH].astype(np.float32) / 127.5 - 1.0
            (maps,) = tf.nest.flatten(self._features(tf.constant(batch)))
            means.append(maps.numpy().mean(axis=(1, 2)))
        return np.concatenate(means)


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
