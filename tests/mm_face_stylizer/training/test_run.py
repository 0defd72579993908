import dataclasses
import json

import numpy as np
import pytest

from mm_face_stylizer._keras import keras, tf
from mm_face_stylizer.contact_sheet import ContactSheet
from mm_face_stylizer.training.run import (
    TrainingRun,
    forget_moments,
    learning_rate,
    stage_at,
    step_seed,
)


class _Halving(TrainingRun):
    """A weight that each step halves; every third step has a loss of its own."""

    title = "Halving"

    def __init__(self, folder, total_steps=45):
        super().__init__(folder, total_steps)
        self.weight = tf.Variable(1.0)
        self._restore(weight=self.weight)

    def _train(self, step):
        self.weight.assign(self.weight / 2)
        values = {"weight": self.weight}
        return values | ({"third": tf.constant(float(step))} if step % 3 == 0 else {})

    def _sheet(self, step):
        return ContactSheet([[np.full((8, 8, 3), step, np.uint8)]])


def _events(folder):
    """What TensorBoard finds: steps and values by name."""
    found = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                scalar = float(tf.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, pytest.approx(scalar)))
    return found


def _logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


def test_a_run_writes_log_events_curves_sheet_and_checkpoint(tmp_path):
    run = _Halving(tmp_path)
    seen = []
    run.run(lambda step, values: seen.append((step, values["weight"])))
    assert [step for step, _ in seen] == list(range(1, 46))
    entries = _logged(tmp_path)
    assert [entry["step"] for entry in entries] == [20, 40, 45]
    assert entries[0]["weight"] == pytest.approx(np.mean([v for _, v in seen[:20]]))
    # The mean of the steps that have it.
    assert entries[0]["third"] == pytest.approx(np.mean(range(0, 20, 3)))
    assert _events(tmp_path) == {
        name: [(entry["step"], entry[name]) for entry in entries] for name in ("weight", "third")
    }
    assert (tmp_path / "samples_000045.png").exists() and (tmp_path / "loss.png").exists()
    assert _Halving(tmp_path).step == 45


def test_what_came_after_the_last_checkpoint_is_forgotten(tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(step, values):
        run._checkpoint_seconds = 0.0 if step == 29 else 1e9
        if step == 42:
            raise Interrupted

    run = _Halving(tmp_path)
    with pytest.raises(Interrupted):
        run.run(interrupt)
    assert [entry["step"] for entry in _logged(tmp_path)] == [20, 40]
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 41, "wei')
    resumed = _Halving(tmp_path)
    assert resumed.step == 29 and resumed.weight.numpy() == 0.5**29
    assert [entry["step"] for entry in _logged(tmp_path)] == [20]
    resumed.run()
    assert resumed.weight.numpy() == 0.5**45
    assert [step for step, _ in _events(tmp_path)["weight"]] == [20, 40, 45]


def test_a_checkpoint_is_saved_only_when_it_is_time(tmp_path):
    run = _Halving(tmp_path)
    run._checkpoint_seconds = 1e9
    with pytest.raises(KeyboardInterrupt):
        run.run(lambda step, values: (_ for _ in ()).throw(KeyboardInterrupt))
    assert _Halving(tmp_path).step == 0


@dataclasses.dataclass
class _Stage:
    steps: int


def test_stages_follow_each_other():
    stages = (_Stage(2), _Stage(3))
    assert [stage_at(stages, step) for step in range(5)] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (1, 2)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="over"):
        stage_at(stages, 5)


def test_the_learning_rate_warms_up_and_decays():
    assert learning_rate(2.0, 0, 1000, 0) == pytest.approx(0.02)
    assert learning_rate(2.0, 0, 1000, 99) == pytest.approx(2.0)
    assert learning_rate(2.0, 500, 1000, 500) == pytest.approx(2.0 * 0.575)
    assert learning_rate(2.0, 1000, 1000, 500) == pytest.approx(0.3)


def test_forgotten_moments_leave_the_rate():
    optimizer = keras.optimizers.Adam(0.5)
    weight = tf.Variable([1.0, 2.0])
    optimizer.build([weight])
    optimizer.apply_gradients([(tf.constant([1.0, 1.0]), weight)])
    forget_moments(optimizer)
    assert optimizer.learning_rate.numpy() == 0.5
    assert all(not np.any(v) for v in optimizer.variables if v is not optimizer.learning_rate)


def test_seeds_differ_by_step_and_by_run():
    seeds = [tuple(step_seed(*key).numpy()) for key in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert len(set(seeds)) == 3 and seeds[0] == seeds[3]
