"""Fréchet distance between two sets of feature vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.floating[Any]]


def frechet_distance(a: _Floats, b: _Floats) -> float:
    """Computes the squared Fréchet distance between Gaussians fitted to two sets of features.

    With means m_a and m_b and covariances A and B, the result is
    |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)). The trace of (A B)^(1/2) is computed from the
    eigenvalues of the symmetric matrix A^(1/2) B A^(1/2), which are real even if there are fewer
    samples than dimensions. The estimate is biased upward, more so for fewer samples: compare only
    results of equal sample counts.

    The FID applies this formula to Inception features; here the caller chooses the features.
    Source: Dowson and Landau, "The Fréchet distance between multivariate normal distributions"
    (1982); Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium" (2017).

    Args:
      a: [count_a, dimensions], at least two rows.
      b: [count_b, dimensions], at least two rows.

    Returns:
      The squared distance, in squared units of the features; 0 for equal sets.

    Raises:
      ValueError: The dimensions differ, a set has fewer than two rows, or a value is not finite.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"features have the shapes {list(first.shape)} and {list(second.shape)}; both must be"
            " [count, dimensions] with equal dimensions"
        )
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"a Fréchet distance needs at least two samples in each set, not {len(first)} and"
            f" {len(second)}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("features must be finite, but contain NaN or infinity")
    shift = first.mean(axis=0) - second.mean(axis=0)
    one, two = (np.atleast_2d(np.cov(samples, rowvar=False)) for samples in (first, second))
    values, vectors = np.linalg.eigh(one)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    # Rounding can make an eigenvalue slightly negative.
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two @ root), 0.0)).sum()
    distance = shift @ shift + np.trace(one) + np.trace(two) - 2.0 * cross
    return max(float(distance), 0.0)
