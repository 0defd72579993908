import copy
import dataclasses
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from mm_face_stylizer.hyperparameters import HParams


def test_defaults_and_order_are_model_makers():
    # Of mediapipe-model-maker 0.2.1.4, but for export_dir and what comes after tpu.
    expected = {
        "learning_rate": 8e-4,
        "batch_size": 4,
        "epochs": 100,
        "steps_per_epoch": None,
        "class_weights": None,
        "shuffle": False,
        "repeat": False,
        "distribution_strategy": "off",
        "num_gpus": 0,
        "tpu": "",
        "beta_1": 0.0,
        "beta_2": 0.99,
        "seed": 0,
    }
    values = dataclasses.asdict(HParams())
    del values["export_dir"]
    assert values == expected
    assert list(values) == list(expected)
    assert [field.name for field in dataclasses.fields(HParams)][7] == "export_dir"


def test_betas_can_be_given():
    hparams = HParams(beta_1=0.5, beta_2=0.9)
    assert (hparams.beta_1, hparams.beta_2) == (0.5, 0.9)


def test_each_instance_exports_to_a_folder_of_its_own_that_is_not_made_yet():
    first, second = HParams().export_dir, HParams().export_dir
    assert first != second
    assert not os.path.exists(first)
    assert HParams(export_dir="here").export_dir == "here"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "8e-4"),
        ("learning_rate", True),
        ("batch_size", 0),
        ("batch_size", 4.0),
        ("batch_size", True),
        ("epochs", 0),
        ("epochs", -5),
        ("epochs", None),
        ("steps_per_epoch", 0),
        ("class_weights", [1.0]),
        ("shuffle", 1),
        ("repeat", "yes"),
        ("export_dir", ""),
        ("export_dir", None),
        ("distribution_strategy", "mirror"),
        ("distribution_strategy", None),
        ("distribution_strategy", "tpu"),
        ("distribution_strategy", "parameter_server"),
        ("num_gpus", -1),
        ("num_gpus", 2),
        ("tpu", None),
        ("beta_1", -0.1),
        ("beta_1", 1.0),
        ("beta_2", 1.0),
        ("beta_2", float("nan")),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 0.5),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_right(name, value):
    with pytest.raises(ValueError, match=f"^{name} is ") as caught:
        HParams(**{name: value})
    assert repr(value) in str(caught.value)
    assert "; it must be " in str(caught.value)


@pytest.mark.parametrize("name", ["TPU", "Parameter_Server"])
def test_an_unsupported_strategy_is_told_from_an_unknown_one(name):
    with pytest.raises(ValueError, match="not supported") as caught:
        HParams(distribution_strategy=name)
    assert "multi_worker_mirrored" in str(caught.value)


def test_one_device_is_one():
    with pytest.raises(ValueError, match="num_gpus is 2; it must be 0 or 1 with .*'one_device'"):
        HParams(distribution_strategy="one_device", num_gpus=2)
    assert HParams(distribution_strategy="mirrored", num_gpus=2).num_gpus == 2


def test_numpy_numbers_and_edges_are_accepted(tmp_path):
    HParams(
        learning_rate=np.float32(1e-3),
        batch_size=np.int64(2),
        epochs=1,
        steps_per_epoch=1,
        class_weights={0: 1.0},
        shuffle=np.bool_(True),
        export_dir=tmp_path,
        beta_1=0,
        beta_2=0.0,
        seed=2**32 - 1,
    )


def test_importing_and_checking_does_not_import_tensorflow():
    code = (
        "import sys; from mm_face_stylizer.hyperparameters import HParams;"
        "HParams(distribution_strategy='mirrored');"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("off", "_DefaultDistributionStrategy"),
        ("one_device", "OneDeviceStrategy"),
        ("Mirrored", "MirroredStrategy"),
    ],
)
def test_strategy(name, kind):
    hparams = HParams(distribution_strategy=name)
    strategy = hparams.get_strategy()
    assert type(strategy).__name__ == kind
    assert strategy.num_replicas_in_sync == 1
    assert hparams.get_strategy() is strategy


def test_multi_worker_strategy_without_workers_is_one_replica():
    # In a process of its own: it must come before any other operation of TensorFlow.
    code = (
        "from mm_face_stylizer.hyperparameters import HParams;"
        "s = HParams(distribution_strategy='multi_worker_mirrored').get_strategy();"
        "assert 'MultiWorker' in type(s).__name__ or 'CollectiveAllReduce' in type(s).__name__;"
        "assert s.num_replicas_in_sync == 1"
    )
    environment = {key: os.environ[key] for key in os.environ if key != "TF_CONFIG"}
    # A GPU of the machine at hand would be a replica each.
    environment["CUDA_VISIBLE_DEVICES"] = ""
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_more_gpus_than_there_are_is_refused_when_the_strategy_is_made():
    hparams = HParams(distribution_strategy="mirrored", num_gpus=1000)
    with pytest.raises(ValueError, match="num_gpus is 1000; it must be at most"):
        hparams.get_strategy()


def test_copies_are_equal_and_leave_the_strategy_behind():
    hparams = HParams(distribution_strategy="mirrored", epochs=7)
    hparams.get_strategy()
    for other in (
        copy.copy(hparams),
        copy.deepcopy(hparams),
        dataclasses.replace(hparams),
        pickle.loads(pickle.dumps(hparams)),
        HParams(**dataclasses.asdict(hparams)),
    ):
        assert other == hparams
        assert "_strategy" not in vars(other)
    assert dataclasses.replace(hparams, epochs=8) != hparams
