import dataclasses

import numpy as np
import pytest
from reports import drifting_rounds, report, row, subject

from benchmarks import plots
from task_bundle.media.images import load_image


def rounds():
    return drifting_rounds(np.random.default_rng(0), count=4, calls=4)


def names(paths, stem):
    return {path.name.removeprefix(f"{stem}-") for path in paths}


def test_bundles_are_drawn_stage_by_stage_and_by_size(tmp_path):
    subjects = (subject("small", 5_000_000), subject("large", 15_000_000))
    rows = [
        dataclasses.replace(row(rounds(), stage, s.name, threads=1, **settings))
        for s in subjects
        for stage, settings in (
            ("end_to_end", {"photo": (512, 600)}),
            ("stylizer", {"delegate": "xnnpack"}),
        )
    ]
    written = plots.save_plots(report(*rows, subjects=subjects), tmp_path / "x")
    assert names(written, "x") == {"stages.png", "size.png", "rounds.png"}
    for path in written:
        assert load_image(path).std() > 10
    with pytest.raises(FileExistsError):
        plots.save_plots(report(*rows, subjects=subjects), tmp_path / "x")


def test_each_axis_has_a_plot(tmp_path):
    rows = [row(rounds(), threads=2, photo=(side, side)) for side in (256, 1024, 8000)]
    crowds = [row(rounds(), threads=2, photo=(900, 900), faces=count) for count in (1, 4)]
    assert names(plots.save_plots(report(*crowds), tmp_path / "y"), "y") == {"faces.png"}
    rows += crowds
    subjects = [subject()]
    for side, batch in ((256, 1), (256, 4), (512, 1)):
        made = subject(f"{side} x {batch}", side=side)
        subjects.append(made)
        rows.append(row(rounds(), "stylizer", made.name, threads=1, batch=batch))
    written = plots.save_plots(report(*rows, subjects=subjects), tmp_path / "x")
    assert names(written, "x") == {"photo.png", "faces.png", "batch.png", "resolution.png"}


def test_no_plot_is_made_of_no_rows(tmp_path):
    failed = dataclasses.replace(row(rounds()), rounds=(), error="it crashes")
    assert plots.save_plots(report(failed), tmp_path / "x") == []
    assert not list(tmp_path.iterdir())
