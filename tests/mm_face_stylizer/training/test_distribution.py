import json
import os
import socket
import subprocess
import sys

import distributed_pretraining
import distributed_translator
import numpy as np
import pytest
from tiny import TinyMesh, eager_steps, write_pictures

from mm_face_stylizer._keras import tf
from mm_face_stylizer.cli import main
from mm_face_stylizer.training.blaze_stylegan.pretraining import Pretraining
from mm_face_stylizer.training.distribution import Distribution
from mm_face_stylizer.training.portraits import Portraits

_LIMIT_SECONDS = 900


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _beside_two_workers(program, arguments, alone):
    """Runs a program as two workers, and meanwhile `alone`, whose result it returns.

    Args:
      program: The program's module.
      arguments: A function from a worker's index to the program's arguments.
      alone: What one process does with all of the workers' batch.
    """
    hosts = [f"localhost:{port}" for port in _free_ports(2)]
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        workers.append(
            subprocess.Popen(
                [sys.executable, program.__file__, *map(str, arguments(index))],
                # A GPU of the machine at hand would be a replica each.
                env=os.environ | {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        with eager_steps():
            result = alone()
        for worker in workers:
            errors = worker.communicate(timeout=_LIMIT_SECONDS)[1]
            assert worker.returncode == 0, errors[-3000:]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two workers, and meanwhile one process with all of their batch."""
    folder = tmp_path_factory.mktemp("distribution")
    pictures = write_pictures(folder / "pictures")
    alone, history = _beside_two_workers(
        distributed_pretraining,
        lambda index: [pictures, folder / f"worker{index}", folder / f"worker{index}.json"],
        lambda: distributed_pretraining.pretrained(pictures, folder / "alone"),
    )
    found = [json.loads((folder / f"worker{index}.json").read_text()) for index in range(2)]
    return folder, alone, history, found


@pytest.mark.slow
def test_a_translator_has_the_same_losses_on_two_workers(tmp_path):
    alone = _beside_two_workers(
        distributed_translator,
        lambda index: [tmp_path / f"worker{index}", tmp_path / f"worker{index}.json"],
        lambda: distributed_translator.trained(tmp_path / "alone"),
    )
    for index in range(2):
        found = json.loads((tmp_path / f"worker{index}.json").read_text())
        for values, wanted in zip(found, alone, strict=True):
            assert values == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one_with_their_whole_batch(trained):
    _, _, wanted, found = trained
    assert {"l1", "colour", "features", "landmarks", "generator", "discriminator"} < set(wanted[0])
    assert [worker["worker"] for worker in found] == [0, 1]
    for worker in found:
        assert worker["replicas"] == 2 and len(worker["history"]) == len(wanted)
        for step, values in enumerate(wanted):
            assert worker["history"][step] == pytest.approx(values, rel=2e-4), step
    # What the weights learned shows: without averaged gradients it differs by as much as 0.5 %.
    assert wanted[-1]["discriminator"] < 0.98 * wanted[0]["discriminator"]


@pytest.mark.slow
def test_replicas_share_a_batch_and_average_their_gradients(trained):
    for worker in trained[3]:
        found = worker["measured"]
        assert found["rows"] == [[0, 2, 4, 6], [1, 3, 5, 7]]
        assert found["columns"] == [[[0, 2], [4, 6]], [[1, 3], [5, 7]]]
        assert found["gathered"] == list(range(8))
        assert found["mean"] == 14.0
        assert found["norm"] == pytest.approx(np.linalg.norm(np.arange(8)))
        assert found["clipped"] == pytest.approx(-3.0)
        assert found["weight"] == pytest.approx(-6.5)


@pytest.mark.slow
def test_the_chief_alone_writes_and_one_process_resumes_from_it(trained):
    folder, alone, _, _ = trained
    assert sorted(path.name for path in (folder / "worker1").iterdir()) == ["cache"]
    assert (folder / "worker0" / "samples_000004.png").exists()
    assert len((folder / "worker0" / "log.jsonl").read_text().splitlines()) == 1
    portraits = Portraits(folder / "pictures", folder / "cache", side=64)
    resumed = Pretraining(
        distributed_pretraining.OPTIONS, portraits, TinyMesh(), folder / "worker0"
    )
    assert resumed.step == 4
    weights = resumed.networks.weights()
    for name, wanted in alone.networks.weights().items():
        found = weights[name]
        # Adam's first steps are as long for the smallest gradients, whose signs rounding decides.
        assert np.mean(np.abs(found - wanted)) < 2e-3 * (1.0 + np.mean(np.abs(wanted))), name


@pytest.mark.slow
def test_workers_that_are_not_at_the_same_step_say_so(trained):
    assert [worker["error"] for worker in trained[3]] == ["numbers 0 and 1"] * 2


def test_one_process_is_the_chief_of_one_replica():
    one = Distribution.current()
    assert (one.replicas, one.worker, one.is_chief) == (1, 0, True)
    assert one.share(7) == one.part(7) == 7
    one.check_same(3, "never")


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_mirrored_without_a_gpu_is_one_replica_and_says_so():
    with pytest.warns(UserWarning, match="no GPU here"):
        assert Distribution.named("mirrored").replicas == 1


def test_a_batch_must_be_shared_evenly():
    class Strategy:
        num_replicas_in_sync = 2
        cluster_resolver = None

    two = Distribution(Strategy())
    assert (two.share(6), two.share(8, 4), two.part(5)) == (3, 4, 3)
    with pytest.raises(ValueError, match="batch_size is 7; on 2 replicas .* a multiple of 2"):
        two.share(7)
    with pytest.raises(ValueError, match="batch_size is 4; on 2 replicas .* a multiple of 8"):
        two.share(4, 4)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_refused_with_one_that_is_right(config, monkeypatch):
    if config is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match="^TF_CONFIG is .*it must be such as") as caught:
        Distribution.named("multi_worker_mirrored")
    example = str(caught.value).split("such as ")[1].split(", with")[0]
    assert json.loads(example)["task"] == {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    "command",
    ["pretrain", "pretrain-teacher", "distill", "invert", "translator train", "translator search"],
)
def test_every_command_has_the_option(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    assert "{off,mirrored,multi-worker-mirrored}" in capsys.readouterr().out


def test_a_command_without_tf_config_ends_with_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    arguments = ["--data", str(tmp_path), "--output", str(tmp_path / "run")]
    arguments += ["--distribution", "multi-worker-mirrored"]
    assert main(["pretrain-teacher", *arguments]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("mm-face-stylizer: error: TF_CONFIG is not set; it must be such as")
