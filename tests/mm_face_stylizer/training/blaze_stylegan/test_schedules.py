import subprocess
import sys

import pytest

from mm_face_stylizer.models.blaze_stylegan.config import NetworksConfig
from mm_face_stylizer.training.blaze_stylegan import schedules
from mm_face_stylizer.training.blaze_stylegan.schedules import (
    PretrainingOptions,
    PretrainingRequest,
    pretraining_options,
)

_PRESET = NetworksConfig()


def test_nothing_asked_for_is_the_schedule_from_scratch():
    assert pretraining_options(PretrainingRequest()) == PretrainingOptions()


@pytest.mark.parametrize(
    ("request_", "start", "schedule"),
    [
        ({}, _PRESET, schedules.REFINEMENT),
        ({"spatial_sides": (8, 16, 32)}, _PRESET, schedules.REFINEMENT),
        ({"spatial_sides": (8,)}, _PRESET, schedules.FEWER_SPATIAL),
        ({"sharpen": True, "strength": 0.5}, _PRESET, schedules.SHARPENING),
        ({"image_size": 512}, _PRESET, schedules.GROWTH),
        ({"image_size": 256}, NetworksConfig(128), schedules.GROWTH),
    ],
)
def test_the_schedule_follows_from_what_changes(request_, start, schedule):
    options = pretraining_options(PretrainingRequest("preset", **request_), start)
    assert options.stages == schedules.stages_for(schedule.stages, options.image_size)
    assert (options.learning_rate, options.batch_size) == (
        schedule.learning_rate,
        schedule.batch_size,
    )
    assert options.image_size == request_.get("image_size", start.image_size)
    assert options.spatial_sides == request_.get("spatial_sides", start.spatial_sides)
    assert max(stage.image_size for stage in options.stages) == options.image_size


def test_what_the_user_chooses_replaces_the_schedules_values():
    request = PretrainingRequest(
        "preset", steps=250, batch_size=3, learning_rate=0.1, seed=7, conv_dtype="bfloat16"
    )
    options = pretraining_options(request, NetworksConfig(width=0.5))
    assert [stage.steps for stage in options.stages] == [200, 50]
    assert (options.batch_size, options.learning_rate, options.seed) == (3, 0.1, 7)
    assert (options.conv_dtype, options.width) == ("bfloat16", 0.5)


@pytest.mark.parametrize(
    ("request_", "start", "reason"),
    [
        ({"sharpen": True}, None, "--sharpen needs --start-from"),
        ({"sharpen": True, "image_size": 512}, _PRESET, "--sharpen needs"),
        ({"sharpen": True, "spatial_sides": ()}, _PRESET, "--sharpen needs"),
        ({"strength": 0.5}, _PRESET, "--strength 0.5 needs --sharpen"),
        ({"image_size": 512}, None, "needs --start-from, a preset of 256 px"),
        ({"image_size": 1024}, _PRESET, "from it, 256 and 512 can be trained"),
        ({"image_size": 512, "spatial_sides": ()}, _PRESET, "change the preset at once"),
    ],
)
def test_contradictions_name_the_options(request_, start, reason):
    with pytest.raises(ValueError, match=reason):
        pretraining_options(PretrainingRequest("preset", **request_), start)


def test_schedules_need_no_tensorflow():
    code = (
        "import sys, mm_face_stylizer.training.blaze_stylegan.schedules\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
