import numpy as np
import pytest
from tiny import write_pictures
from tiny_translator import CONFIG, LARGEST, imaginary_table

from mm_face_stylizer import cli
from mm_face_stylizer._keras import keras
from mm_face_stylizer.errors import PresetError
from mm_face_stylizer.evaluation.subject import find_subject
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.pixels import from_pixels, to_pixels
from mm_face_stylizer.practice_faces import practice_pictures
from mm_face_stylizer.preset import Preset, save_preset
from task_bundle import TaskBundle


@pytest.fixture
def preset(tmp_path):
    keras.utils.set_random_seed(0)
    networks = TranslatorNetworks.build(CONFIG)
    return save_preset(tmp_path / "preset", networks, {"name": "t", "family": "translator"}).folder


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_translator_is_exported_to_a_bundle_that_is_evaluated_like_others(
    precision, preset, tmp_path, face_models, capsys
):
    path = tmp_path / "x.task"
    arguments = ["translator", "export", str(preset), "-o", str(path), "--precision", precision]
    assert cli.main([*arguments, "--image-size", "64"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert TaskBundle.open(path).validate() == ()
    subject = find_subject(path)
    assert subject.side == 64
    photos = practice_pictures(64, 2)
    own = Preset.find(preset).networks().network(from_pixels(photos)).numpy()
    difference = np.abs(subject.pictures(photos).astype(int) - to_pixels(own))
    assert difference.mean() < (1.0 if precision == "float16" else 8.0)


def test_the_preset_itself_is_not_evaluated(preset):
    with pytest.raises(PresetError, match="of the family translator, .*: export it first"):
        find_subject(preset)


@pytest.fixture
def folders(tmp_path):
    names = ("photos", "style")
    return {name: str(write_pictures(tmp_path / name, 32, 52)) for name in names}


def _train(folders, tmp_path, *options, command="train"):
    common = ["--photos", folders["photos"], "--style", folders["style"]]
    common += ["-o", str(tmp_path / "run"), "--image-size", "32"]
    return cli.main(["translator", command, *common, *options])


def test_errors_are_one_line_before_training_starts(folders, tmp_path, capsys):
    assert _train(folders, tmp_path) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "a face was found in only 0 of 24 pictures" in error
    assert _train(folders, tmp_path, "--paintings-only") == 1
    assert "--paintings-only needs --paintings" in capsys.readouterr().err
    assert _train(folders, tmp_path, "--paintings", "4", "--teacher", "x.task") == 1
    assert "--paintings and --teacher are both given" in capsys.readouterr().err
    assert _train(folders, tmp_path, "--teacher", str(tmp_path / "x.task")) == 1
    assert "x.task" in capsys.readouterr().err.strip().splitlines()[-1]
    assert _train(folders, tmp_path, "--start-from", "blaze_face_stylizer_256") == 1
    assert "blaze_face_stylizer_256 is no translator" in capsys.readouterr().err


def test_a_table_of_another_machine(folders, tmp_path, capsys):
    imaginary_table().save(tmp_path / "table.json")
    options = ["--table", str(tmp_path / "table.json"), "--latency", "0.0001"]
    # The last convolution of these is as wide as that of the table.
    options += ["--network", "cyclegan6"]
    assert _train(folders, tmp_path, *options, command="search") == 1
    assert "was measured on 'imaginary', not on" in capsys.readouterr().err
    options += ["--device", "imaginary"]
    assert _train(folders, tmp_path, *options, command="search") == 1
    assert "the lowest that this search space has is" in capsys.readouterr().err


@pytest.mark.slow
def test_the_commands_search_then_train_what_was_found(tmp_path, monkeypatch, face_models):
    from mm_face_stylizer.training.translator import domains

    monkeypatch.setattr(domains, "_check_faces", lambda *_: None)
    monkeypatch.setattr(
        "mm_face_stylizer.training.translator.command.translator_config",
        lambda name, side: LARGEST,
    )
    folders = {name: str(write_pictures(tmp_path / name, 32, 52)) for name in ("photos", "style")}
    imaginary_table().save(tmp_path / "table.json")
    search = ["--table", str(tmp_path / "table.json"), "--device", "imaginary"]
    search += ["--latency", "0.4", "--steps", "6", "--search-after", "1", "--search-steps", "3"]
    assert _train(folders, tmp_path, *search, "--identity", "l1", command="search") == 0
    found = tmp_path / "run" / "translator_found"
    assert Preset.find(found).card["search"]["predicted_milliseconds"] <= 0.4
    train = ["--start-from", str(found), "--steps", "2", "-o", str(tmp_path / "further")]
    assert _train(folders, tmp_path, *train, "--identity", "l1") == 0
    trained = Preset.find(tmp_path / "further" / "translator_mobile")
    assert trained.card["start"]["name"] == "translator_found"
    assert trained.config() == Preset.find(found).config()
