"""Tests of mm_face_stylizer.studio.workshop."""

import numpy as np
import pytest
from PIL import Image

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.ready_styles import ready_styles
from mm_face_stylizer.studio.workshop import MOST_STYLES
from task_bundle.errors import ImageError, NoFaceError
from task_bundle.media.images import load_image
from task_bundle.runtime.stylizer import FaceStylizer, FaceStylizerOptions


def test_paintings_follow_likeness_and_colors(workshop, style_files, grace_hopper_file) -> None:
    chosen = workshop.paint(style_files, grace_hopper_file)
    assert chosen.before.shape == chosen.after.shape == (256, 256, 3)
    assert chosen.after.dtype == np.uint8 and chosen.seconds > 0
    assert 0 <= chosen.likeness <= 1
    same = workshop.paint(style_files, grace_hopper_file, chosen.likeness)
    np.testing.assert_array_equal(same.after, chosen.after)
    most = workshop.paint(style_files, grace_hopper_file, 1.0)
    assert most.likeness == 1.0
    assert np.abs(most.after.astype(int) - chosen.after).mean() > 2
    own = workshop.paint(style_files, grace_hopper_file, colors="photo")
    assert np.abs(own.after.astype(int) - chosen.after).mean() > 2


def test_ready_styles_are_those_of_the_bundles(workshop, ready_file, grace_hopper_file) -> None:
    look = workshop.in_ready_style("ink", grace_hopper_file)
    assert look.likeness is None
    np.testing.assert_array_equal(
        workshop.with_bundle(ready_file, grace_hopper_file).after, look.after
    )
    options = FaceStylizerOptions(backend="portable")
    with FaceStylizer.create_from_model_path(ready_file, options) as stylizer:
        face = stylizer.stylize(load_image(grace_hopper_file))
    assert face is not None
    # The painter's crops shrink large faces first; this face is little larger than the crop.
    assert np.abs(face.image.astype(int) - look.after).mean() < 4
    pictures = workshop.in_all_ready_styles(grace_hopper_file)
    assert [name for _, name in pictures] == list(ready_styles())
    assert len({picture.tobytes() for picture, _ in pictures}) == len(pictures)


def test_messages_name_the_file_and_not_its_folder(
    workshop, style_files, no_face_file, grace_hopper_file, tmp_path
) -> None:
    with pytest.raises(NoFaceError, match=r"^no face was found in wall\.png"):
        workshop.in_ready_style("ink", no_face_file)
    with pytest.raises(NoFaceError, match=r"wall\.png"):
        workshop.paint([no_face_file], grace_hopper_file)
    text = tmp_path / "letter.png"
    text.write_text("Dear reader")
    huge = tmp_path / "huge.png"
    Image.new("1", (12_000, 9_000)).save(huge)
    for file, reason in ((text, "letter.png"), (huge, "huge.png.*megapixels")):
        with pytest.raises(ImageError, match=reason) as caught:
            workshop.paint(style_files, file)
        assert str(tmp_path) not in str(caught.value)


def test_no_and_too_many_style_pictures(workshop, style_files, grace_hopper_file) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no style picture"):
        workshop.check_styles([])
    with pytest.raises(InvalidArgumentError, match=f"{MOST_STYLES} are the most"):
        workshop.paint(style_files[:1] * (MOST_STYLES + 1), grace_hopper_file)
