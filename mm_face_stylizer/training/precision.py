"""Which precision of convolutions is fastest on this processor."""

from __future__ import annotations

import pathlib

_CPU_INFO = pathlib.Path("/proc/cpuinfo")
# Instructions that multiply bfloat16: AVX512-BF16, and AMX of servers.
_FLAGS = frozenset(("avx512_bf16", "amx_bf16"))


def fastest_conv_dtype(cpu_info: pathlib.Path = _CPU_INFO) -> str:
    """Asks the processor whether it multiplies bfloat16.

    With such instructions convolutions take half the time; without, bfloat16 is emulated and takes
    four times as long.

    Args:
      cpu_info: Linux's description of the processors.

    Returns:
      `bfloat16` or `float32`; `float32` where there is no such description.
    """
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "float32"
    flags = [line.partition(":")[2].split() for line in lines if line.startswith("flags")]
    if flags and all(_FLAGS & set(own) for own in flags):
        return "bfloat16"
    return "float32"
