import copy
import enum
import functools
import pickle
import sys
import types

import pytest

from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.model_spec import ModelSpec, SupportedModels


def test_blaze_face_stylizer_256():
    spec = SupportedModels.get(SupportedModels.BLAZE_FACE_STYLIZER_256)
    assert spec == ModelSpec(
        style_block_num=12,
        input_image_shape=[256, 256],
        name="blaze_face_stylizer_256",
        mean_rgb=[127.5],
        stddev_rgb=[127.5],
    )


def test_names_are_model_makers_and_one_more():
    names = [model.name for model in SupportedModels]
    assert names == ["BLAZE_FACE_STYLIZER_256", "BLAZE_FACE_STYLIZER_512"]


def test_blaze_face_stylizer_512():
    spec = SupportedModels.get(SupportedModels.BLAZE_FACE_STYLIZER_512)
    assert spec == ModelSpec(14, [512, 512], "blaze_face_stylizer_512")


def test_the_spec_of_a_preset_is_its_cards(tmp_path):
    # Every model that can be named is released.
    for model in SupportedModels:
        spec = SupportedModels.get(model)
        assert ModelSpec.of_preset(spec.name) == spec
    (tmp_path / "card.json").write_text('{"config": {"image_size": 128}}')
    spec = ModelSpec.of_preset(tmp_path)
    assert spec == ModelSpec(10, [128, 128], str(tmp_path))
    given = SupportedModels.get(spec)
    assert given == spec and given.input_image_shape is not spec.input_image_shape
    with pytest.raises(PresetError, match="blaze_face_stylizer_9.*Known presets"):
        ModelSpec.of_preset("blaze_face_stylizer_9")


def test_name_is_optional():
    assert ModelSpec(10, [128, 128]).name == ""


def test_specs_share_nothing():
    first = SupportedModels.get(SupportedModels.BLAZE_FACE_STYLIZER_256)
    first.input_image_shape[0] = 1
    first.mean_rgb[0] = 0.0
    second = SupportedModels.get(SupportedModels.BLAZE_FACE_STYLIZER_256)
    assert second.input_image_shape == [256, 256]
    assert second.mean_rgb == [127.5]


def test_a_member_of_model_makers_enum_serves():
    theirs = enum.Enum(
        "SupportedModels", {"BLAZE_FACE_STYLIZER_256": enum.member(functools.partial(dict))}
    )
    spec = SupportedModels.get(theirs.BLAZE_FACE_STYLIZER_256)
    assert isinstance(spec, ModelSpec)


def test_members_pass_for_those_of_model_makers_enum_where_it_is_loaded(monkeypatch):
    ours = SupportedModels.BLAZE_FACE_STYLIZER_256
    theirs = enum.Enum("SupportedModels", ["BLAZE_FACE_STYLIZER_256"])
    assert not isinstance(ours, theirs) and ours.__class__ is SupportedModels
    name = "mediapipe_model_maker.python.vision.face_stylizer.model_spec"
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(SupportedModels=theirs))
    assert isinstance(ours, theirs) and isinstance(ours, SupportedModels)
    assert SupportedModels.get(ours).name == "blaze_face_stylizer_256"
    assert ours.name == "BLAZE_FACE_STYLIZER_256"
    assert pickle.loads(pickle.dumps(ours)) is ours
    assert copy.deepcopy(ours) is ours


@pytest.mark.parametrize(
    "spec",
    [
        None,
        256,
        "BLAZE_FACE_STYLIZER_256",
        ModelSpec(12, [256, 256]),
        enum.Enum("SupportedModels", ["BLAZE_FACE_STYLIZER_4096"]).BLAZE_FACE_STYLIZER_4096,
    ],
)
def test_anything_else_is_refused_and_the_supported_are_named(spec):
    with pytest.raises(TypeError, match=r"SupportedModels\.BLAZE_FACE_STYLIZER_256"):
        SupportedModels.get(spec)
