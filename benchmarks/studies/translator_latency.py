"""How near predicted latencies of translators come to measured ones, for random networks.

`python -m benchmarks.studies.translator_latency table.json` draws networks of the search space of a
table that `benchmark operators` has written, measures their exports in turns, and prints both
latencies. It wants an idle computer, the one of the table.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np

from benchmarks.operators import measured_in_turns, random_translator
from mm_face_stylizer.export import export_stylizer
from mm_face_stylizer.models.translator.config import CONFIGURATIONS, translator_config
from mm_face_stylizer.models.translator.networks import TranslatorNetworks
from mm_face_stylizer.training.translator.latency_predictor import LatencyPredictor
from mm_face_stylizer.training.translator.latency_table import LatencyTable, this_device

# Networks of the table were drawn with seed 0; these are others.
_SEED = 1
_AIM = 0.1


def main(arguments: list[str] | None = None) -> None:
    """Measures the networks and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--network", choices=CONFIGURATIONS, default="fast", help="the largest")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    table = LatencyTable.load(options.table)
    if table.device != this_device():
        parser.error(f"{options.table} was measured on {table.device!r}, not {this_device()!r}")
    largest = translator_config(options.network, table.image_size)
    table.check_covers(largest, str(options.table))
    predictor, random = LatencyPredictor(table), np.random.default_rng(_SEED)
    configs = [random_translator(largest, random) for _ in range(options.count)]
    predicted = np.array([float(predictor.latency(config)) for config in configs])
    models = [
        export_stylizer(TranslatorNetworks.build(config), table.precision) for config in configs
    ]
    measured = np.array(measured_in_turns(models, options.rounds, random))
    sys.stdout.write(
        "| blocks | predicted, ms | measured, ms | difference |\n|---:|---:|---:|---:|\n"
    )
    for row in np.argsort(measured):
        difference = predicted[row] / measured[row] - 1.0
        sys.stdout.write(
            f"| {len(configs[row].blocks)} | {predicted[row]:.2f} | {measured[row]:.2f} "
            f"| {difference:+.1%} |\n"
        )
    errors = np.abs(predicted / measured - 1.0)
    sys.stdout.write(
        f"\nwithin {_AIM:.0%}: {np.sum(errors <= _AIM)} of {len(errors)}; "
        f"mean {errors.mean():.1%}, largest {errors.max():.1%}\n"
    )


if __name__ == "__main__":
    main()
