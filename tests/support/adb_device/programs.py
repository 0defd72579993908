"""Programs that a process of the device runs, apart from the simulator."""

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent

TOOL_CLIENT: Final = str(_HERE / "tool_client.py")
BENCHMARK_MODEL: Final = str(_HERE / "benchmark_model.py")
# The first argument of each is the name that its process has on the device.
NAMED: Final = (TOOL_CLIENT, BENCHMARK_MODEL)
