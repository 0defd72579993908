import numpy as np

from benchmarks.studies.principal_components import principal_axes


def test_axes_are_those_of_a_singular_value_decomposition():
    random = np.random.default_rng(0)
    points = random.standard_normal((60, 200)) * 0.9 ** np.arange(200)
    points = (points - points.mean(axis=0)).astype(np.float32)
    wanted = np.linalg.svd(points, full_matrices=False)[2][:8]
    found = principal_axes(points, 8).T
    np.testing.assert_allclose(np.abs((wanted * found).sum(axis=1)), 1.0, atol=1e-3)
