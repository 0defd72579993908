"""Times that benchmark_model measures, and the file of its result."""

import math
import struct


class Statistics:
    """tensorflow::StatWithPercentiles of microseconds."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def add(self, value: int) -> None:
        self.values.append(value)

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values) if self.values else math.nan

    @property
    def deviation(self) -> int:
        squares = sum(value**2 for value in self.values) / len(self.values)
        return int(math.sqrt(max(0.0, squares - self.mean**2)))

    def percentile(self, percent: int) -> int:
        return sorted(self.values)[len(self.values) * percent // 100]

    def line(self) -> str:
        """Returns the statistics as the tool prints them."""
        values = self.values
        if not values:
            return "count=0"
        if min(values) == max(values):
            text = f"count={len(values)} curr={values[-1]}"
            text += "(all same)" if len(values) > 1 else ""
        else:
            text = (
                f"count={len(values)} first={values[0]} curr={values[-1]} min={min(values)} "
                f"max={max(values)} avg={self.mean:.6g} std={self.deviation}"
            )
        return (
            f"{text} p5={self.percentile(5)} median={self.percentile(50)} p95={self.percentile(95)}"
        )


def encode_result(
    counted: Statistics,
    warm_up: Statistics,
    init_us: int,
    init_kb: int,
    all_kb: int,
    peak_mb: float,
    model_mb: float,
    throughput: float,
) -> bytes:
    """Returns tflite.tools.benchmark.BenchmarkResult in protobuf's wire format."""
    latency = [counted.mean, min(counted.values), max(counted.values), counted.deviation]
    latency += [counted.percentile(percent) for percent in (50, 5, 95)]
    latency += [init_us, warm_up.values[0] if warm_up.values else 0, warm_up.mean]
    latencies = b"".join(_float(n, value / 1000) for n, value in enumerate(latency, start=1))
    memory = _integer(1, init_kb) + _integer(2, all_kb)
    if peak_mb > 0:
        memory += _float(3, peak_mb)
    others = _float(1, model_mb) + _integer(2, len(counted.values))
    others += _integer(3, len(warm_up.values)) + _float(4, throughput)
    return _message(2, latencies) + _message(3, memory) + _message(4, others)


def _varint(value: int) -> bytes:
    data = bytearray()
    value &= 2**64 - 1
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data
