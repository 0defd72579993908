import dataclasses

import numpy as np
import pytest

from task_bundle import BundleError, TaskBundle
from task_bundle.provenance import Provenance, read_provenance, write_provenance
from task_bundle.tflite import schema
from task_bundle.tflite.metadata import read_metadata

MADE = Provenance(
    version="1.2",
    preset="blaze",
    styles=("ink", "größer"),
    steps=100,
    seed=7,
    likeness=0.75,
    colors="style",
    strength=1.0,
    precision="float16",
    thumbnail=b"\xff\xd8\xff and so on",
)


@pytest.fixture
def bundle(make_stylizer, any_face_models):
    return TaskBundle.build(make_stylizer(), any_face_models)


def test_a_record_is_read_as_it_was_written(bundle, tmp_path):
    assert bundle.provenance is None
    marked = bundle.with_provenance(MADE)
    marked.save(tmp_path / "x.task")
    assert TaskBundle.open(tmp_path / "x.task").provenance == MADE
    # Always the same bytes; another record takes the place of the first; the rest stays.
    assert bundle.with_provenance(MADE) == marked == marked.with_provenance(MADE)
    other = dataclasses.replace(MADE, steps=200)
    assert marked.with_provenance(other).provenance == other
    assert read_metadata(marked.stylizer) == read_metadata(bundle.stylizer)
    marked.validate()


def test_texts_that_are_too_long_are_cut(bundle):
    long = dataclasses.replace(MADE, styles=("x" * 1000,) * 1000)
    styles = bundle.with_provenance(long).provenance.styles
    assert len(styles) == 100 and len(styles[0]) == 200


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b'{"format": "other"}', "no mm-face-stylizer provenance"),
        (b'{"format": "mm-face-stylizer provenance", "styles": 3}', "styles"),
        (b"[" * 100_000, "damaged"),
        (b" " * 300_000, "300000 bytes"),
    ],
)
def test_damaged_records_are_refused(bundle, content, complaint):
    model = schema.unpack_model(write_provenance(bundle.stylizer, MADE))
    model.buffers[model.metadata[-1].buffer].data = np.frombuffer(content, np.uint8)
    with pytest.raises(BundleError, match=complaint):
        read_provenance(schema.pack_model(model))
