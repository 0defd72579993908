"""Where the person is in a picture: MediaPipe's selfie segmentation, or GrabCut without it.

mediapipe 0.10's wheel carries the segmentation network. Elsewhere the person is found by OpenCV's
GrabCut, which knows from the face's oval what is surely person. Source: Rother et al., "GrabCut:
Interactive Foreground Extraction using Iterated Graph Cuts" (2004).
"""

from __future__ import annotations

import pathlib

import numpy as np

from task_bundle.faces.person import PersonSegmenter, find_person_segmenter

_GRABCUT_SIDE, _GRABCUT_ROUNDS = 128, 4
# A plain background, as cartoons have: how far in Lab from its color it may be, and how much of the
# upper rim it takes, together with hair of one color or alone. Black is left out: it is what lies
# outside a photo.
_PLAIN_DISTANCE, _PLAIN_SHARE, _LEAST_PLAIN_SHARE, _BLACK = 5.0, 0.45, 0.2, 4.0
# A wall in a photo is never that even.
_PLAIN_DEVIATION = 1.2


class PersonMask:
    """Finds the person; made once, used for many pictures."""

    def __init__(self, model: str | pathlib.Path | None = None):
        """Loads the segmentation network.

        Args:
          model: A TFLite network from a picture in [0, 1] to the share of the person in each pixel;
            that of mediapipe's wheel if None, and GrabCut where the wheel has none.

        Raises:
          BundleError: LiteRT cannot run the network.
          OSError: `model` cannot be read.
        """
        if model is None:
            self._network = find_person_segmenter()
        else:
            self._network = PersonSegmenter(pathlib.Path(model).read_bytes(), str(model))

    def find(self, picture: np.ndarray, oval: np.ndarray) -> np.ndarray:
        """Finds the person whose face is given.

        Args:
          picture: uint8 [side, side, 3].
          oval: The face's oval, [side, side] in [0, 1].

        Returns:
          Share of the person in each pixel, float32 [side, side] in [0, 1], the oval included.
        """
        import cv2

        plain = _plain_background(picture, oval)
        if plain is not None:
            return np.maximum(1.0 - plain, oval)
        person = _grab_cut(picture, oval) if self._network is None else self._network.run(picture)
        person = cv2.resize(person, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.maximum(np.clip(person, 0.0, 1.0), oval)


def _plain_background(picture: np.ndarray, oval: np.ndarray) -> np.ndarray | None:
    """Share of a background of one color in each pixel; None if there is no such background.

    The segmentation network knows photos; of a cartoon it sees the face and not the hair.
    """
    import cv2

    side = len(picture)
    lab = cv2.cvtColor(picture.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    band = side // 16
    # The head and shoulders hide less of the background in the upper half's rim.
    rim = [lab[:band], lab[: side // 2, :band], lab[: side // 2, -band:]]
    rim = np.concatenate([part.reshape(-1, 3) for part in rim])
    rim = rim[rim[:, 0] > _BLACK]
    if len(rim) < band * band:
        return None
    colors = _plain_colors(rim)
    if not colors:
        return None
    # Hair of one color that reaches the rim lies on top of the face, the background beside it.
    rows = np.flatnonzero(oval.max(axis=1) > 0.5)
    top = cv2.dilate(oval, np.ones((2 * band, 2 * band))) - oval > 0.5
    top[rows[0] + len(rows) // 4 :] = False
    color = min(colors, key=lambda color: float((_apart(lab[top], color) < _PLAIN_DISTANCE).sum()))
    near = _apart(lab, color) < _PLAIN_DISTANCE
    reachable = (near | (lab[..., 0] <= _BLACK)).astype(np.uint8)
    _, labels = cv2.connectedComponents(reachable)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    found = (np.isin(labels, np.setdiff1d(edge, [0])) & near).astype(np.float32)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((5, 5)))
    return cv2.GaussianBlur(found, (0, 0), 0.7 * side / 256)


def _plain_colors(rim: np.ndarray) -> list[np.ndarray]:
    """The one or two colors in Lab of most pixels of a rim, [pixels, 3]; none if it varies."""
    colors, left, total = [], rim, 0.0
    while len(left) > _LEAST_PLAIN_SHARE * len(rim) and len(colors) < 2:
        some = left[:: max(1, len(left) // 256)]
        neighbors = (_apart(some[:, np.newaxis], some) < _PLAIN_DISTANCE).sum(axis=1)
        near = _apart(left, some[int(neighbors.argmax())]) < _PLAIN_DISTANCE
        share = float(near.sum()) / len(rim)
        if share < _LEAST_PLAIN_SHARE:
            break
        if left[near].std(axis=0).max() <= _PLAIN_DEVIATION:
            colors.append(np.median(left[near], axis=0))
            total += share
        left = left[~near]
    return colors if total >= _PLAIN_SHARE else []


def _apart(lab: np.ndarray, color: np.ndarray) -> np.ndarray:
    return np.linalg.norm(lab - color, axis=-1)


def _grab_cut(picture: np.ndarray, oval: np.ndarray) -> np.ndarray:
    import cv2

    side = _GRABCUT_SIDE
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    face = cv2.resize(oval, (side, side), interpolation=cv2.INTER_AREA) > 0.5
    rows, columns = np.nonzero(face)
    labels = np.full((side, side), cv2.GC_PR_BGD, np.uint8)
    # Hair round the face, and shoulders below it, are likely; the upper corners are not.
    grown = cv2.dilate(face.astype(np.uint8), np.ones((side // 5, side // 5))) > 0
    labels[grown] = cv2.GC_PR_FGD
    labels[rows.max() :, columns.min() : columns.max()] = cv2.GC_PR_FGD
    labels[face] = cv2.GC_FGD
    labels[: side // 12, : side // 12] = labels[: side // 12, -side // 12 :] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(small, labels, None, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        # A flat picture has no two colors to tell apart.
        return grown.astype(np.float32)
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return cv2.GaussianBlur(found.astype(np.float32), (0, 0), 1.5)
