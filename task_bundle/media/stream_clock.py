"""Lets the time of a video go on where the clock in its file starts anew."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

# Formats that can be cut and joined anywhere, as recorders and `cat` do: MPEG transport and program
# streams. In all others a time that goes back is damage.
_JOINABLE_FORMATS = frozenset(("mpegts", "mpeg"))
# A clock that is set back by less is no new recording.
_SET_BACK_SECONDS = 0.5


class StreamClock:
    """Shifts the times of packets behind each place where recordings were joined.

    Every packet of pictures and sound has to be passed to `correct`, in the order of the file, so
    that several readers of a file shift its tracks by the same.
    """

    def __init__(self, container: "InputContainer") -> None:
        """Makes a clock for one pass through a file."""
        self._is_needed = container.format.name in _JOINABLE_FORMATS
        self._shift = 0.0
        self._end = 0.0
        self._tracks: dict[int, _Track] = {}

    def correct(self, packet: "Packet[Any]") -> None:
        """Changes the times of a packet, if the clock of its file was set back before it."""
        if not self._is_needed or packet.dts is None:
            return
        own = float(packet.dts * packet.time_base)
        track = self._tracks.setdefault(packet.stream.index, _Track(own, self._shift))
        if own + track.shift < track.time - _SET_BACK_SECONDS:
            # The last packets of one track may come after the first of another that is set back.
            if track.shift == self._shift:
                self._shift = self._end - own
            track.shift = self._shift
        track.time = own + track.shift
        length = float((packet.duration or 0) * packet.time_base)
        self._end = max(self._end, track.time + length)
        ticks = round(track.shift / packet.time_base)
        packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks


@dataclass
class _Track:
    time: float
    shift: float
