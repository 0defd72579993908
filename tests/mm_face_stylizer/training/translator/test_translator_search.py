import dataclasses
import json

import numpy as np
import pytest
from tiny import assert_resumes, run_as_if_killed
from tiny_translator import (
    LARGEST,
    InvertedPairs,
    features,
    imaginary_table,
    network_milliseconds,
    two_domains,
)

from mm_face_stylizer._keras import tf
from mm_face_stylizer.errors import DataError, InvalidArgumentError
from mm_face_stylizer.training.translator.latency_predictor import LatencyPredictor
from mm_face_stylizer.training.translator.latency_table import LatencyTable
from mm_face_stylizer.training.translator.translator_search import (
    SearchOptions,
    TranslatorSearch,
    check_target,
    lowest_latency,
)
from mm_face_stylizer.training.translator.translator_training import (
    TranslatorOptions,
    TranslatorStage,
)

_OPTIONS = TranslatorOptions(
    LARGEST,
    (TranslatorStage.from_paintings(34, 2, 5.0, backward=False),),
    discriminator_width=8,
    learning_rate=1e-3,
)
# While the search presses: it begins after 8 steps and ends after 32.
_SAVED = 28


@pytest.fixture(scope="module")
def predictor():
    return LatencyPredictor(imaginary_table())


def _search(predictor):
    target = 0.4 * float(predictor.latency(LARGEST))
    return SearchOptions(target, first_step=8, steps=24, rate=0.05)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    return two_domains(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="module")
def finished(domains, predictor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    run = TranslatorSearch(
        _OPTIONS,
        _search(predictor),
        predictor,
        domains,
        folder / "run",
        features,
        InvertedPairs(domains),
    )
    return run, run_as_if_killed(run, _SAVED, folder / "killed")


def test_the_predictor_knows_networks_that_it_has_not_seen(predictor):
    random = np.random.default_rng(3)
    for _ in range(20):
        some = random.integers(8, 17, 8)
        config = dataclasses.replace(
            LARGEST,
            stem=int(some[0]),
            down=(int(some[1]), int(some[2]) + 8),
            blocks=tuple(int(x) for x in some[3 : 3 + random.integers(1, 4)]),
            up=(int(some[6]), int(some[7])),
        )
        wanted = network_milliseconds(config)
        assert float(predictor.latency(config)) == pytest.approx(wanted, rel=0.1)


@pytest.mark.slow
def test_the_found_network_is_as_fast_as_asked(finished, predictor):
    run, history = finished
    target = _search(predictor).milliseconds
    found = run.released()
    assert run.milliseconds <= target
    assert network_milliseconds(found.config) <= 1.1 * target
    assert found.config != LARGEST
    # Before the search nothing presses; then the falling target does.
    assert max(values["latency"] for values in history[:8]) < 0.1
    assert max(values["latency"] for values in history[9:30]) > 0.2
    # What is left draws what the masked network draws.
    photos, _ = run._domains.held_out()
    picture = tf.constant(photos[:1], tf.float32) / 127.5 - 1.0
    masked, _ = run._average.network.translate(picture, run._masks.values())
    np.testing.assert_allclose(found.network(picture), masked, atol=1e-4)


@pytest.mark.slow
def test_a_killed_search_resumes(finished, domains, predictor):
    run, history = finished
    again = TranslatorSearch(
        _OPTIONS,
        _search(predictor),
        predictor,
        domains,
        run.folder.parent / "killed",
        features,
        InvertedPairs(domains),
    )
    assert_resumes(again, _SAVED, history)
    assert again.released().config == run.released().config


@pytest.mark.parametrize(("only", "fixed"), [("width", "gates"), ("depth", "channels")])
@pytest.mark.usefixtures("untraced")
def test_widths_alone_and_depths_alone(only, fixed, domains, predictor, tmp_path):
    lowest = lowest_latency(LARGEST, predictor, only)
    search = SearchOptions(1.2 * lowest, 0, 1, searched=only)
    options = dataclasses.replace(
        _OPTIONS, stages=(TranslatorStage.from_paintings(2, 1, 1.0, False),)
    )
    run = TranslatorSearch(
        options, search, predictor, domains, tmp_path, features, InvertedPairs(domains)
    )
    run.run()
    assert run.milliseconds <= search.milliseconds
    for score in getattr(run._masks, fixed).values():
        np.testing.assert_array_equal(score, np.ones(score.shape))


def test_impossible_targets(predictor):
    lowest = lowest_latency(LARGEST, predictor)
    with pytest.raises(InvalidArgumentError, match=f"0.001 ms; the lowest .* is {lowest:.3g} ms"):
        check_target(LARGEST, predictor, 0.001)
    with pytest.raises(InvalidArgumentError, match="the largest network takes no more than"):
        check_target(LARGEST, predictor, 1e6)
    check_target(LARGEST, predictor, 1.01 * lowest)


def test_a_table_of_other_parts():
    with pytest.raises(DataError, match="no part 'last' of 5 x 5 px"):
        imaginary_table().check_covers(dataclasses.replace(LARGEST, last_kernel=5))


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = imaginary_table()
    table.save(tmp_path / "table.json")
    loaded = LatencyTable.load(tmp_path / "table.json")
    assert loaded.device == "imaginary" and loaded.networks[0][0] == table.networks[0][0]
    for (part, ms), (other, found) in zip(table.parts, loaded.parts, strict=True):
        assert dataclasses.replace(part, gate="") == other and found == pytest.approx(ms, abs=1e-4)
    with pytest.raises(FileExistsError):
        table.save(tmp_path / "table.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "mm-face-stylizer-benchmark"}, "is not a table of latencies"),
        ({"version": 2}, "version 2 .* reads version 1: measure again"),
        ({"parts": []}, "has 0 parts"),
        ({"parts": [{"kind": "stem"}]}, "damaged"),
    ],
)
def test_tables_of_another_schema(change, message, tmp_path):
    path = tmp_path / "table.json"
    imaginary_table().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        LatencyTable.load(path)
    path.write_text("no JSON")
    with pytest.raises(DataError, match="table.json is not JSON"):
        LatencyTable.load(path)
