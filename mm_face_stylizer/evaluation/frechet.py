"""Fréchet distance: how far two sets of pictures are apart as wholes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.floating[Any]]


def frechet_distance(a: _Floats, b: _Floats) -> float:
    """Squared Fréchet distance of the Gaussians with two sets' means and covariances.

    |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)). Source: Dowson and Landau (1982); Heusel et al.,
    "GANs trained by a two time-scale update rule" (2017), with features of their own in place of
    Inception's. The trace of (A B)^(1/2) is taken from the eigenvalues of A^(1/2) B A^(1/2), which
    is symmetric: no complex roots, and covariances of too few samples do no harm. With finite
    samples it is too great, the more so the fewer there are: compare equal counts alone.

    Args:
      a: [count, dimensions], at least two rows.
      b: [count, dimensions], at least two rows, not necessarily as many.

    Returns:
      The squared distance, in squares of the features' unit; 0 for equal sets.

    Raises:
      ValueError: The dimensions differ, there are fewer than two rows, or a value is not finite.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"features have the shapes {list(first.shape)} and {list(second.shape)}; both must be"
            " [count, dimensions]"
        )
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"a Fréchet distance needs two samples a side, not {len(first)} and {len(second)}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("features are not finite")
    shift = first.mean(axis=0) - second.mean(axis=0)
    one, two = (np.atleast_2d(np.cov(samples, rowvar=False)) for samples in (first, second))
    values, vectors = np.linalg.eigh(one)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    # Rounding may leave an eigenvalue just under zero.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two @ root), 0.0)).sum()
    distance = shift @ shift + np.trace(one) + np.trace(two) - 2.0 * cross
    return max(float(distance), 0.0)
