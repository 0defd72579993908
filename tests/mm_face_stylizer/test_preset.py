import dataclasses
import json

import numpy as np
import pytest
from tiny import tiny_networks

from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.preset import Preset, save_preset


@pytest.fixture(scope="module")
def networks():
    return tiny_networks()


@pytest.fixture
def saved(networks, tmp_path):
    return save_preset(tmp_path / "tiny", networks, {"name": "tiny"})


def test_a_saved_preset_comes_back_in_float16(networks, saved):
    preset = Preset.find(saved.folder)
    wanted, found, arrays = networks.weights(), preset.networks().weights(), preset.weights()
    assert arrays.keys() == wanted.keys()
    for name, value in wanted.items():
        dtype = np.float16 if value.ndim > 1 else np.float32
        assert arrays[name].dtype == dtype, name
        np.testing.assert_array_equal(arrays[name], value.astype(dtype), name)
        np.testing.assert_array_equal(found[name], value.astype(dtype), name)
    assert sum(saved.card["parameters"].values()) == sum(v.size for v in wanted.values())


def test_the_same_networks_give_the_same_bytes(networks, tmp_path):
    first = save_preset(tmp_path / "a", networks, {"name": "tiny"})
    second = save_preset(tmp_path / "b", tiny_networks(), {"name": "tiny"})
    assert first.card["sha256"] == second.card["sha256"]
    other = save_preset(tmp_path / "c", tiny_networks(seed=1), {"name": "tiny"})
    assert other.card["sha256"] != first.card["sha256"]


def test_a_flipped_bit_is_found(saved):
    path = saved.folder / "weights.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for read in (saved.networks, saved.weights):
        with pytest.raises(PresetError, match=rf"{path}.*sha256.*reinstall"):
            read()


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(PresetError, match="'nonsense'.*blaze_face_stylizer_256"):
        Preset.find("nonsense")


def test_a_card_that_is_no_json(tmp_path):
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(PresetError, match="card.json"):
        Preset.find(tmp_path)


def test_a_card_that_does_not_say_the_side(tmp_path):
    for config in ("{}", "null", '{"image_size": "large"}'):
        (tmp_path / "card.json").write_text(f'{{"config": {config}}}')
        with pytest.raises(PresetError, match=r"card.json.*config\.image_size"):
            _ = Preset.find(tmp_path).image_size
    assert Preset.find().image_size == 256


def test_missing_weights(saved):
    (saved.folder / "weights.npz").unlink()
    for read in (saved.networks, saved.weights):
        with pytest.raises(PresetError, match="missing"):
            read()


def test_weights_of_another_configuration(saved):
    saved.card["config"]["width"] = 0.25
    with pytest.raises(PresetError, match="shape"):
        saved.networks()


def test_an_existing_preset_is_not_replaced(networks, saved):
    before = (saved.folder / "weights.npz").read_bytes()
    other = dataclasses.replace(networks, w_avg=networks.w_avg + 1.0)
    with pytest.raises(FileExistsError):
        save_preset(saved.folder, other, {"name": "tiny"})
    assert (saved.folder / "weights.npz").read_bytes() == before


def test_the_released_preset_meets_its_requirements():
    preset = Preset.find()
    # The wheel, in which there are two presets, has at most 80 MB.
    sizes = {path.name: path.stat().st_size for path in preset.folder.iterdir()}
    drawing = sum(size for name, size in sizes.items() if name.startswith("drawing"))
    assert drawing <= 17e6 and sum(sizes.values()) - drawing <= 25e6
    assert len(preset.ready_styles) >= 6
    metrics = preset.card["metrics"]["held_out_reconstruction"]
    assert metrics["psnr"] >= 25
    assert metrics["face_found"] >= 0.995
    assert metrics["landmark_error"] <= 0.02
    for key in ("command", "commit", "licence", "data", "sha256"):
        assert preset.card[key], key
    listing = (preset.folder / preset.card["data"]["list"]).read_text().splitlines()
    held_out = [line.split(",")[0] for line in listing if line.endswith(",held_out")]
    assert len(held_out) == preset.card["data"]["held_out"]
    assert all(int(name.split(".")[0]) % 10 == 0 for name in held_out)
    assert json.dumps(preset.card)
