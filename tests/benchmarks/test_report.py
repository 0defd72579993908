import dataclasses
import json

import numpy as np
import pytest
from reports import drifting_rounds, report, row, subject

from benchmarks.report import (
    VERSION,
    Aggregate,
    Conditions,
    Parity,
    Report,
    Round,
    Row,
)
from task_bundle.errors import ResultError


@pytest.fixture
def result() -> Report:
    rounds = drifting_rounds(np.random.default_rng(0), count=2, calls=3)
    return report(row(rounds, threads=1, photo=(512, 600)), row(rounds, threads=2))


def test_a_file_gives_back_the_report(result, tmp_path):
    path = tmp_path / "result.json"
    result.save(path)
    assert Report.load(path) == result
    with pytest.raises(FileExistsError):
        result.save(path)


def test_samples_are_one_line_a_round(result):
    lines = result.to_json().splitlines()
    assert sum('"samples_ms": [' in line and line.endswith("],") for line in lines) == 4


def test_text_that_looks_like_a_list_is_left_alone(result):
    result = dataclasses.replace(result, options={"note": "[\n1,\n2]"})
    assert Report.from_json(result.to_json()).options == {"note": "[\n1,\n2]"}


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["rows", 0, "settings", "threads"], "1", r"rows\[0\].settings.threads"),
        (["rows", 0, "settings", "threads"], 0, r"rows\[0\].settings.threads"),
        (["rows", 0, "rounds", 1, "samples_ms", 0], -1.0, r"samples_ms\[0\]"),
        (["rows", 0, "stage"], "End to end", r"rows\[0\].stage"),
        (["rows", 0, "device"], "another", "'another', which is not listed"),
        (["rows", 1, "settings", "threads"], 1, None),
        (["subjects", 0, "sha256"], "0", r"subjects\[0\].sha256"),
        (["subjects", 0, "file"], "/home/me/x.task", r"subjects\[0\].file"),
        (["began"], "yesterday", "began"),
        (["surprise"], 1, "surprise"),
    ],
)
def test_values_that_break_the_format_are_named(result, path, value, complaint):
    values = json.loads(result.to_json())
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if complaint is None:
        Report.from_json(json.dumps(values))
        return
    with pytest.raises(ResultError, match=complaint):
        Report.from_json(json.dumps(values), "x.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "\xff"])
def test_other_files_are_no_results(text):
    with pytest.raises(ResultError, match=r"x\.json"):
        Report.from_json(text, "x.json")


def test_another_version_is_refused(result):
    text = result.to_json().replace(f'"version": {VERSION}', '"version": 99')
    with pytest.raises(ResultError, match=r"version 99 .* version 1"):
        Report.from_json(text)


def test_what_is_no_json_is_not_saved(result, tmp_path):
    result.options["photo"] = object()
    with pytest.raises(ResultError):
        result.save(tmp_path / "result.json")
    assert not list(tmp_path.iterdir())


def test_a_wrong_picture_has_no_times(result):
    wrong = Parity("float32", "grey levels", mean=40.0, maximum=255.0, limit=6.0, passed=False)
    good = result.rows[0]
    with pytest.raises(ValueError, match="differs from float32"):
        dataclasses.replace(good, parity=(wrong,))
    with pytest.raises(ValueError, match="must not have rounds"):
        dataclasses.replace(good, parity=(wrong,), error="wrong picture")
    assert dataclasses.replace(good, parity=(wrong,), error="wrong", rounds=()).error == "wrong"
    with pytest.raises(ValueError, match="needs rounds"):
        dataclasses.replace(good, rounds=())


def test_the_same_case_twice_is_refused(result):
    with pytest.raises(ValueError, match="same case"):
        dataclasses.replace(result, rows=(result.rows[0], result.rows[0]))
    with pytest.raises(ValueError, match="style is there twice"):
        report(subjects=(subject(), subject()))


def test_phones_fit_the_same_format():
    hot = Conditions(celsius=41.5, thermal_status=3, battery_percent=80, charging=False)
    one = Round(
        aggregate=Aggregate(count=50, mean=12.0, minimum=11.0, p50=11.9), after=hot, throttled=True
    )
    phone = dataclasses.replace(report().devices[0], kind="phone", serial_sha256="2" * 64)
    made = Row("a host", "style", "stylizer", "benchmark_model", rounds=(one,))
    result = dataclasses.replace(report(made), devices=(phone,))
    assert Report.from_json(result.to_json()) == result
    assert result.rows[0].throttled
    with pytest.raises(ValueError, match="not both"):
        Round(samples_ms=(1.0,), aggregate=one.aggregate)


def test_the_schema_names_every_field():
    schema = Report.json_schema()
    assert set(schema["required"]) >= {"began", "devices", "subjects", "rows"}
    assert "samples_ms" in schema["$defs"]["Round"]["properties"]
    assert schema["additionalProperties"] is False
