"""A family of stylizers is a folder in models/, a folder in training/ and one row."""

import argparse
import textwrap

import numpy as np
import pytest
from litert import run_litert

import mm_face_stylizer.models
import mm_face_stylizer.training
from mm_face_stylizer import cli, families
from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.families import FAMILIES, Family, find_family
from mm_face_stylizer.model_spec import ModelSpec
from mm_face_stylizer.preset import Preset, save_preset
from task_bundle import TaskBundle

# The folder in models/: a network of one convolution.
_NETWORKS = """
import dataclasses

import numpy as np

from mm_face_stylizer._keras import keras, tf


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    image_size: int = 32
    latent_rows = 0


class Stylizer(keras.Model):
    def __init__(self, config):
        super().__init__(name="toy")
        self.side = config.image_size
        self.conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")
        self.conv.build((None, None, None, 3))

    def call(self, photo, training=None):
        return tf.clip_by_value(self.conv(photo), 0.0, 1.0)


class Toy:
    def __init__(self, config):
        self.config = config
        self._stylizer = Stylizer(config)

    @classmethod
    def from_weights(cls, config, weights):
        made = cls(config)
        names = ("stylizer/kernel", "stylizer/bias")
        made._stylizer.conv.set_weights([weights[name] for name in names])
        return made

    def weights(self):
        kernel, bias = self._stylizer.conv.get_weights()
        return {"stylizer/kernel": kernel, "stylizer/bias": bias}

    def inference(self):
        return self._stylizer

    def calibration_pictures(self):
        return np.zeros((1, self._stylizer.side, self._stylizer.side, 3), np.float32)
"""
# The folder in training/: its command.
_COMMAND = '''
import sys


def add_toy(commands):
    """Adds the command of the family."""
    command = commands.add_parser("train-toy", help="train a toy")
    command.add_argument("--strength", type=float, default=1.0)
    command.set_defaults(run=_train)


def _train(arguments):
    sys.stdout.write(f"{arguments.strength}\\n")
'''
# The row.
_TOY = Family(
    name="toy",
    config="mm_face_stylizer.models.toy.networks:ToyConfig",
    networks="mm_face_stylizer.models.toy.networks:Toy",
    commands="mm_face_stylizer.training.toy.command:add_toy",
)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Adds the family as somebody would who writes two folders and a row."""
    for parent, file, code in (
        (mm_face_stylizer.models, "networks.py", _NETWORKS),
        (mm_face_stylizer.training, "command.py", _COMMAND),
    ):
        room = tmp_path / parent.__name__.rpartition(".")[2]
        (room / "toy").mkdir(parents=True)
        (room / "toy" / "__init__.py").touch()
        (room / "toy" / file).write_text(textwrap.dedent(code))
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(room)])
    monkeypatch.setattr(families, "FAMILIES", (*FAMILIES, _TOY))


def _saved(tmp_path):
    networks = _TOY.networks_class()(_TOY.config_class()())
    return networks, save_preset(tmp_path / "preset", networks, {"name": "t", "family": "toy"})


@pytest.mark.usefixtures("toy")
def test_a_preset_of_a_new_family_is_loaded_and_exported_to_a_bundle(tmp_path, face_models):
    networks, saved = _saved(tmp_path)
    preset = Preset.find(saved.folder)
    assert preset.card["parameters"] == {"stylizer": 84}
    assert ModelSpec.of_preset(saved.folder).input_image_shape == [32, 32]
    assert ModelSpec.of_preset(saved.folder).style_block_num == 0
    loaded = preset.networks()
    for name, value in networks.weights().items():
        np.testing.assert_allclose(loaded.weights()[name], value, atol=1e-3)

    path = tmp_path / "toy.task"
    TaskBundle.build(export_stylizer(loaded, "float32"), face_models).save(path)
    bundle = TaskBundle.open(path)
    assert bundle.validate() == ()
    photo = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    (found,) = run_litert(bundle.stylizer, photo)
    np.testing.assert_allclose(found, loaded.inference()(photo).numpy(), atol=1e-5)
    assert export_stylizer(loaded, "int8")


@pytest.mark.usefixtures("toy")
def test_a_new_family_has_its_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "train a toy" in capsys.readouterr().out
    assert cli.main(["train-toy", "--strength", "0.5"]) == 0
    assert capsys.readouterr().out == "0.5\n"


def test_without_its_row_there_is_no_family(tmp_path):
    (tmp_path / "card.json").write_text('{"family": "toy", "config": {"image_size": 32}}')
    with pytest.raises(PresetError, match=r"card\.json.*'toy'.*blaze_stylegan"):
        Preset.find(tmp_path).networks()


def test_old_cards_name_no_family():
    assert find_family({}) is find_family({"family": "blaze_stylegan"})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_row_names_what_exists(family):
    assert callable(family.config_class()) and hasattr(family.config_class(), "latent_rows")
    for method in ("from_weights", "weights", "inference", "calibration_pictures"):
        assert hasattr(family.networks_class(), method)
    commands = argparse.ArgumentParser().add_subparsers()
    family.add_commands(commands)
    assert commands.choices
