"""Tests of task_bundle.runtime.stylized_face."""

import io

import numpy as np
import PIL.Image

from task_bundle.faces.alignment import Face, FaceCrop
from task_bundle.runtime.stylized_face import StylizedFace


def test_results_say_where_the_face_is(grace_hopper) -> None:
    face = Face(np.zeros((478, 3)), FaceCrop(265.0, 200.4, 347.0, 0.1))
    result = StylizedFace(grace_hopper[:64, :32], face)
    place = "at x 265, y 200, 347 pixels wide"
    assert repr(face) == f"<Face {place}>"
    assert repr(result) == f"<StylizedFace: 32 x 64 px, of a face {place}>"
    with PIL.Image.open(io.BytesIO(result._repr_png_())) as picture:
        np.testing.assert_array_equal(np.array(picture), result.image)
