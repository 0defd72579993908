import dataclasses

import numpy as np
import pytest

from benchmarks import operators
from benchmarks.litert import convolutions
from benchmarks.operators import (
    OperatorOptions,
    measure_operators,
    random_translator,
    sampled_parts,
)
from mm_face_stylizer import cli
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.parts import KINDS, parts_of
from mm_face_stylizer.training.translator.latency_table import LatencyTable, this_device

_LARGEST = TranslatorConfig(
    image_size=32, stem=12, down=(16, 48), blocks=(48, 48), up=(24, 16), attention=1
)


@pytest.fixture
def convolutions_only(monkeypatch):
    """Exports nothing: a part takes as long as a convolution of its wider end."""
    monkeypatch.setattr(
        operators,
        "_part_model",
        lambda part: convolutions(part.side, max(part.inputs, part.outputs), 1),
    )
    monkeypatch.setattr(
        operators, "_network_model", lambda config: convolutions(16, config.stem, 2)
    )


@pytest.mark.usefixtures("convolutions_only")
def test_a_table_has_every_part_and_both_ends_of_its_widths():
    said = []
    table = measure_operators(OperatorOptions(_LARGEST, 3, 2, 2), said.append)
    parts = [part for part, _ in table.parts]
    assert {part.kind for part in parts} == set(KINDS)
    for part in parts_of(_LARGEST):
        own = [x for x in parts if (x.kind, x.side) == (part.kind, part.side)]
        assert max(x.outputs for x in own) == part.outputs
        assert min(x.outputs for x in own) == min(8, part.outputs)
        assert len(own) >= 3 or part.kind == "stem"
    assert all(0.0 < ms < 1000.0 for _, ms in (*table.parts, *table.networks))
    assert len(table.networks) == 2 and table.device == this_device()
    assert "measuring 2 rounds" in said[-1]
    widest = [ms for part, ms in table.parts if part.inputs == 48]
    narrowest = [ms for part, ms in table.parts if part.inputs == 8 and part.side == 8]
    assert np.median(widest) > np.median(narrowest)


def test_parts_at_half_the_side_keep_the_colors():
    largest = dataclasses.replace(_LARGEST, stride=2)
    parts = sampled_parts(largest, 3, np.random.default_rng(0))
    assert {(x.inputs, x.stride) for x in parts if x.kind == "stem"} == {(3, 2)}
    # Four pixels of three colors.
    assert {x.outputs for x in parts if x.kind == "last"} == {12}
    assert {x.stride for x in parts if x.kind != "stem"} == {1}


def test_random_networks_are_of_the_search_space():
    random = np.random.default_rng(0)
    for _ in range(20):
        config = random_translator(_LARGEST, random)
        assert 1 <= len(config.blocks) <= 2 and config.attention <= len(config.blocks)
        for name, width in config.widths().items():
            assert 8 <= width <= _LARGEST.widths()[name]


@pytest.mark.usefixtures("convolutions_only")
def test_the_command_writes_a_table(tmp_path, monkeypatch, capsys):
    path = tmp_path / "table.json"
    arguments = ["benchmark", "operators", "-o", str(path), "--network", "small"]
    arguments += ["--image-size", "32", "--samples", "1", "--networks", "1", "--rounds", "1"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert LatencyTable.load(path).image_size == 32
    assert cli.main(arguments) == 1
    assert "table.json" in capsys.readouterr().err
