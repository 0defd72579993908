"""Paths of the programs that processes of the device run outside of the simulator."""

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent

TOOL_CLIENT: Final = str(_HERE / "tool_client.py")
BENCHMARK_MODEL: Final = str(_HERE / "benchmark_model.py")
# The first argument of each program is the name of its process on the device.
NAMED: Final = (TOOL_CLIENT, BENCHMARK_MODEL)
