"""Measures the parts of translators on this computer, for a search for a latency.

Parts are exported one by one and run by LiteRT on one thread with XNNPACK. All of them take turns,
and of each the fastest call counts: other work on the computer can only slow a call.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.litert import make_interpreter
from mm_face_stylizer.models.translator.config import TranslatorConfig
from mm_face_stylizer.models.translator.parts import Part, parts_of
from mm_face_stylizer.training.translator.latency_table import LatencyTable, this_device

_LEAST_CHANNELS = 8
# Calls of a part in a round take about this long together, and are at least as many.
_ROUND_SECONDS, _LEAST_CALLS = 0.02, 3


@dataclasses.dataclass(frozen=True)
class OperatorOptions:
    """What is measured, and how often.

    Attributes:
      largest: The largest network of the search.
      samples: Parts of each kind, of random channels; the smallest and the largest come on top.
      networks: Whole translators of random channels.
      rounds: Rounds.
      seed: Seed of the random channels and of the order.
    """

    largest: TranslatorConfig
    samples: int = 8
    networks: int = 6
    rounds: int = 8
    seed: int = 0


def measure_operators(
    options: OperatorOptions, progress: Callable[[str], None] = lambda text: None
) -> LatencyTable:
    """Measures parts and whole translators.

    Args:
      options: What is measured.
      progress: Is told what is done, line by line.

    Returns:
      The table.
    """
    random = np.random.default_rng(options.seed)
    parts = sampled_parts(options.largest, options.samples, random)
    configs = [random_translator(options.largest, random) for _ in range(options.networks)]
    progress(f"exporting {len(parts)} parts and {len(configs)} networks")
    models = [*map(_part_model, parts), *map(_network_model, configs)]
    progress(f"measuring {options.rounds} rounds")
    times = measured_in_turns(models, options.rounds, random)
    return LatencyTable(
        device=this_device(),
        image_size=options.largest.image_size,
        threads=1,
        precision="float32",
        parts=tuple(zip(parts, times[: len(parts)], strict=True)),
        networks=tuple(zip(configs, times[len(parts) :], strict=True)),
    )


def sampled_parts(
    largest: TranslatorConfig, samples: int, random: np.random.Generator
) -> list[Part]:
    """Chooses parts of a search space: of each kind and side the smallest, the largest, and some.

    Args:
      largest: The largest network.
      samples: Parts of random channels, of each kind and side.
      random: Source of randomness.
    """
    spaces = {(part.kind, part.side): part for part in parts_of(largest)}
    chosen = []
    for (kind, side), part in spaces.items():
        # Colors are never fewer.
        colors = (kind == "stem", kind == "last")
        least = [
            count if is_color else min(_LEAST_CHANNELS, count)
            for count, is_color in zip(_ends(part), colors, strict=True)
        ]
        ends = [_ends(part), least]
        for _ in range(samples):
            pairs = zip(least, _ends(part), strict=True)
            ends.append([_channels(low, high, random) for low, high in pairs])
        for inputs, outputs in ends:
            outputs = inputs if kind == "attention" else outputs
            chosen.append(Part(kind, side, inputs, outputs, part.kernel, stride=part.stride))
    return list(dict.fromkeys(chosen))


def _ends(part: Part) -> list[int]:
    return [part.inputs, part.outputs]


def random_translator(largest: TranslatorConfig, random: np.random.Generator) -> TranslatorConfig:
    """Draws a network of a search space: channels, and which residual blocks there are."""

    def some(width: int) -> int:
        return _channels(min(_LEAST_CHANNELS, width), width, random)

    count = int(random.integers(1, len(largest.blocks) + 1)) if largest.blocks else 0
    attention = largest.attention
    return dataclasses.replace(
        largest,
        stem=some(largest.stem),
        down=(some(largest.down[0]), some(largest.down[1])),
        blocks=tuple(some(width) for width in largest.blocks[:count]),
        up=(some(largest.up[0]), some(largest.up[1])),
        attention=None if attention is None else min(attention, count),
    )


def measured_in_turns(
    models: Sequence[bytes], rounds: int, random: np.random.Generator
) -> list[float]:
    """Measures models in turns, on one thread.

    Args:
      models: TFLite flatbuffers.
      rounds: Rounds, in each of which every model is called several times.
      random: Source of the order.

    Returns:
      Milliseconds of the fastest call of each.
    """
    interpreters = [_ready(model) for model in models]
    calls = [_calls(interpreter) for interpreter in interpreters]
    best = [float("inf")] * len(models)
    for _ in range(rounds):
        for index in random.permutation(len(models)):
            times = [_seconds(interpreters[index]) for _ in range(calls[index])]
            best[index] = min(best[index], 1000.0 * min(times))
    return best


def _channels(low: int, high: int, random: np.random.Generator) -> int:
    """Draws a number of channels, a multiple of 4 unless it is one of the ends."""
    if low == high:
        return low
    drawn = int(np.exp(random.uniform(np.log(low), np.log(high))) / 4.0 + 0.5) * 4
    return max(low, min(high, drawn))


def _ready(model: bytes) -> Any:
    interpreter = make_interpreter(model)
    detail = interpreter.get_input_details()[0]
    values = np.random.default_rng(0).random(detail["shape"], np.float32)
    interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return interpreter


def _seconds(interpreter: Any) -> float:
    start = time.perf_counter()
    interpreter.invoke()
    return time.perf_counter() - start


def _calls(interpreter: Any) -> int:
    return max(_LEAST_CALLS, int(_ROUND_SECONDS / max(1e-6, _seconds(interpreter))))


def _part_model(part: Part) -> bytes:
    from mm_face_stylizer.export import convert
    from mm_face_stylizer.models.translator.part_model import PartModel

    return convert(PartModel(part), [(1, part.side, part.side, part.inputs)], "float32")


def _network_model(config: TranslatorConfig) -> bytes:
    from mm_face_stylizer.export import export_stylizer
    from mm_face_stylizer.models.translator.networks import TranslatorNetworks

    return export_stylizer(TranslatorNetworks.build(config), "float32")
