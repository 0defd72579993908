import dataclasses

import numpy as np

from mm_face_stylizer.painting.face_texture import face_texture, face_textures, standard_mesh
from mm_face_stylizer.painting.portrait_finder import PortraitFinder


def test_a_texture_shows_the_face_where_the_standard_mesh_is(grace_hopper, face_models):
    with PortraitFinder(face_models) as finder:
        portrait = finder.find(grace_hopper)
    # Landmarks are painted into the picture; they must come out at the standard mesh.
    places = np.round(portrait.landmarks).astype(int)
    picture = np.zeros_like(portrait.picture)
    for column, row in places[[4, 33, 263, 61, 291]]:
        picture[row - 2 : row + 3, column - 2 : column + 3] = 1.0
    texture = face_texture(dataclasses.replace(portrait, picture=picture))
    for column, row in np.round(standard_mesh()[[4, 33, 263, 61, 291]] * 256).astype(int):
        assert texture[row, column].min() > 200
    # Outside of the face nothing is shown.
    assert (texture[:20] == 127).all()
    assert face_textures([portrait], 64).shape == (1, 64, 64, 3)


def test_the_standard_mesh_is_symmetric():
    left, right = standard_mesh()[[33, 61, 234]], standard_mesh()[[263, 291, 454]]
    np.testing.assert_allclose(left[:, 0], 1.0 - right[:, 0], atol=0.01)
    np.testing.assert_allclose(left[:, 1], right[:, 1], atol=0.01)
