import pytest

from mm_face_stylizer.errors import InvalidArgumentError
from mm_face_stylizer.painting.choices import PaintingChoices


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"likeness": 1.5}, "likeness is 1.5; it must be a number from 0 to 1"),
        ({"likeness": float("nan")}, "likeness is nan"),
        ({"colors": "mine"}, "colors is 'mine'; it must be one of style, photo"),
    ],
)
def test_choices_out_of_range_are_refused(choices, words):
    with pytest.raises(InvalidArgumentError, match=words):
        PaintingChoices(**choices)
