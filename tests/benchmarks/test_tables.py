import csv
import dataclasses
import io

import numpy as np
import pytest
from reports import DEVICE, drifting_rounds, report, row, subject

from benchmarks import tables
from benchmarks.published import PUBLISHED
from benchmarks.report import Coverage, Memory, OperatorTime, Parity

RIGHT = Parity("TFLite's own kernels", "grey levels", 0.01, 1.0, 1.5, True)
WRONG = Parity("stored picture", "grey levels", 80.0, 255.0, 2.0, False)


@pytest.fixture
def result():
    rounds = drifting_rounds(np.random.default_rng(0), p50=40.0)
    good = dataclasses.replace(
        row(rounds, threads=1, photo=(512, 600)),
        parity=(RIGHT,),
        memory=Memory(100 * 2**20, 160 * 2**20, 180 * 2**20, 20),
        coverage=Coverage(397, 411, 3),
        profile=tuple(OperatorTime("CONV_2D", f"layer {i}", 20.0 / (i + 1)) for i in range(20)),
    )
    bad = dataclasses.replace(
        good,
        stage="stylizer",
        rounds=(),
        parity=(RIGHT, WRONG),
        memory=None,
        profile=(),
        error="wrong result",
    )
    return report(good, bad)


@pytest.mark.parametrize("write", [tables.terminal, tables.markdown])
def test_a_wrong_picture_is_shown_without_times(result, write):
    text = write(result)
    line = next(line for line in text.splitlines() if "stylizer" in line and "WRONG" in line)
    assert "failed" in line
    assert not any(character == "±" for character in line)
    assert "wrong result" in text


def test_it_begins_with_one_number(result):
    first, second, *_ = tables.terminal(result).splitlines()
    (good, _) = result.rows
    assert first.startswith(f"{good.subject}: 40 ms a photo, 25 photos a second (")
    assert second == ""


def test_the_table_says_what_was_measured(result):
    text = tables.terminal(result)
    line = next(line for line in text.splitlines() if "end to end" in line)
    for part in ("1 thread, 512 x 600 px", "100 in 10", "60 MiB, peak 80", "397 of 411, 3 parts"):
        assert part in line
    assert "right (0.01 grey levels)" in line
    assert "8 others" in text
    # Columns are aligned.
    head = next(line for line in text.splitlines() if line.startswith("subject"))
    assert line[head.index("runtime") :].startswith("portable")


def test_a_noisy_machine_is_said(result):
    assert "not quiet" not in tables.terminal(
        report(row(drifting_rounds(np.random.default_rng(1), machine=[1.0] * 4)))
    )
    machine = [1.0, 1.0, 1.3, 1.3]
    noisy = report(row(drifting_rounds(np.random.default_rng(1), machine=machine)))
    assert "not quiet" in tables.terminal(noisy)


def test_published_latencies_are_apart_from_measured_ones(result):
    measured, published = tables.markdown(result).split("## Published, not measured here")
    assert all(p.phone in published and p.phone not in measured for p in PUBLISHED)
    assert "Published" not in tables.terminal(result)
    assert not any(p.phone in tables.csv_text(result) for p in PUBLISHED)


def test_markdown_tables_have_as_many_cells_in_each_line(result):
    named = dataclasses.replace(result, subjects=(subject("a|b"),), rows=())
    text = tables.markdown(named)
    assert "a\\|b" in text
    for block in tables.markdown(result).split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1


def test_csv_has_a_line_for_each_row(result):
    lines = list(csv.DictReader(io.StringIO(tables.csv_text(result))))
    assert [line["stage"] for line in lines] == ["end_to_end", "stylizer"]
    assert float(lines[0]["p50_ms"]) == pytest.approx(40.0, rel=0.05)
    assert float(lines[0]["p50_low_ms"]) < float(lines[0]["p50_ms"])
    assert (lines[0]["threads"], lines[0]["photo_width"]) == ("1", "512")
    assert lines[0]["device"] == DEVICE.name
    assert (lines[1]["p50_ms"], lines[1]["error"]) == ("", "wrong result")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (123.4, "123"),
        (12.34, "12.3"),
        (9.996, "10.0"),
        (1.234, "1.23"),
        (0.05, "0.050"),
    ],
)
def test_three_digits_count(value, text):
    assert tables.ms(value) == text
