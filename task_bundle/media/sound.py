"""Copies the sound tracks of a video into another."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from task_bundle.media.stream_clock import StreamClock

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

# Sample rates in Hz, and layouts by the number of channels, that the AAC encoder accepts. Sound
# with others is converted to 48 kHz and to stereo.
_AAC_RATES = frozenset((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 96000))
_AAC_RATE = 48000
_AAC_LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}

_log = logging.getLogger(__name__)


class SoundTracks:
    """The sound of a video, copied packet by packet to keep only a little of it in memory."""

    def __init__(self, source: Path) -> None:
        """Opens a video; if that fails, a warning is logged, and there is no sound."""
        import av

        self._source = source
        self._container: InputContainer | None = None
        self._tracks: dict[int, _Track] = {}
        self._waiting: Packet[AudioStream] | None = None
        try:
            self._container = av.open(f"file:{source.absolute()}", "r", metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            _log.warning("%s: its sound cannot be read: %s", source, error.strerror)
        self._packets: Iterator[Packet[AudioStream]] = iter(())

    @property
    def is_present(self) -> bool:
        """Whether the video has sound."""
        return self._container is not None and bool(self._container.streams.audio)

    def add_to(self, output: "OutputContainer") -> None:
        """Adds the tracks to a file whose header is not written yet.

        A warning is logged for each track that can be neither copied nor converted.
        """
        if self._container is None:
            return
        for number, stream in enumerate(self._container.streams.audio, 1):
            try:
                self._tracks[stream.index] = _Track(number, stream, output)
            except _UnusableTrack as error:
                _log.warning("%s: sound track %d is left out: %s", self._source, number, error)
        if self._tracks:
            self._packets = self._packets_of_tracks(self._container)

    def _packets_of_tracks(self, container: "InputContainer") -> "Iterator[Packet[AudioStream]]":
        clock = StreamClock(container)
        streams = container.streams
        for packet in container.demux(*streams.video, *streams.audio):
            clock.correct(packet)
            if packet.stream.index in self._tracks:
                yield cast("Packet[AudioStream]", packet)

    def write_until(self, seconds: float) -> None:
        """Writes the sound that begins up to this time after the start of the video."""
        import av

        while True:
            packet = self._waiting
            self._waiting = None
            if packet is None:
                try:
                    packet = next(self._packets)
                except StopIteration:
                    return
                except av.FFmpegError as error:
                    _log.warning("%s: the sound is cut short: %s", self._source, error.strerror)
                    self._packets = iter(())
                    return
            time = packet.pts if packet.dts is None else packet.dts
            if time is not None and float(time * packet.time_base) - self._start > seconds:
                self._waiting = packet
                return
            self._tracks[packet.stream.index].write(packet, self._start)

    def close(self) -> None:
        """Closes the video, and logs a warning for each track that lost packets."""
        for track in self._tracks.values():
            if track.lost:
                _log.warning(
                    "%s: %d packets of sound track %d are missing: %s",
                    *(self._source, track.lost, track.number, track.why_lost),
                )
        if self._container is not None:
            self._container.close()

    @property
    def _start(self) -> float:
        """Time at which the video begins, in seconds, on the clock of its packets."""
        assert self._container is not None
        return (self._container.start_time or 0) / 1e6


class _UnusableTrack(Exception):
    pass


class _Track:
    """A sound track that is copied, or encoded as AAC if MP4 does not hold its format.

    Attributes:
      number: position among the sound tracks of the source, from 1.
      lost: number of packets that could not be copied or converted.
      why_lost: FFmpeg's error message for the last of them.
    """

    def __init__(self, number: int, stream: "AudioStream", output: "OutputContainer") -> None:
        self.number = number
        self._output = output
        self._target: AudioStream
        self.lost = 0
        if stream.codec_context is None:
            raise _UnusableTrack("FFmpeg does not know its format")
        self.why_lost = ""
        self._next_dts = -(2**62)
        self._is_copied = _can_be_copied(stream)
        if self._is_copied:
            self._target = output.add_stream_from_template(stream)
        else:
            rate = stream.codec_context.sample_rate
            self._target = output.add_stream("aac", rate if rate in _AAC_RATES else _AAC_RATE)
            channels = len(stream.codec_context.layout.channels)
            self._target.codec_context.layout = _AAC_LAYOUTS.get(channels, "stereo")
        self._target.metadata.update(
            {key: text for key, text in stream.metadata.items() if key in ("language", "title")}
        )

    def write(self, packet: "Packet[AudioStream]", start: float) -> None:
        """Copies or converts a packet; `start` is the time in seconds at which the video begins."""
        import av

        try:
            if self._is_copied:
                self._copy(packet, start)
            else:
                self._convert(packet, start)
        except OSError:
            # The error is not one of the packet: the new file cannot be written.
            raise
        except av.FFmpegError as error:
            self._lose(error.strerror)

    def _lose(self, reason: str | None) -> None:
        self.lost += 1
        self.why_lost = reason or "unknown error"

    def _copy(self, packet: "Packet[AudioStream]", start: float) -> None:
        if packet.dts is None:
            # An empty packet marks the end of the track, for decoders; it is not copied. Other
            # packets without a time cannot be placed in the new file.
            if packet.size > 0:
                self._lose("it has no time")
            return
        shift = round(start / float(packet.time_base))
        pts = packet.dts if packet.pts is None else packet.pts
        # Where recordings were joined, a packet may begin a little before the last one has ended.
        packet.dts = max(packet.dts - shift, self._next_dts)
        packet.pts = max(pts - shift, packet.dts)
        self._next_dts = packet.dts + 1
        packet.stream = self._target
        self._output.mux(packet)

    def _convert(self, packet: "Packet[AudioStream]", start: float) -> None:
        import av

        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            self._lose(error.strerror)
            frames = []
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(start / float(frame.time_base))
            self._output.mux(self._target.encode(frame))
        if packet.size == 0:
            self._output.mux(self._target.encode(None))


def _can_be_copied(stream: "AudioStream") -> bool:
    """Returns whether MP4 holds the format of a track."""
    import av

    channels = stream.codec_context.layout.channels
    if len(channels) > 1 and any(channel.name == "NONE" for channel in channels):
        # AVI and Matroska do not say which channel is which of samples that are not compressed;
        # FFmpeg notices only at the end of the new file that MP4 must.
        return False
    # FFmpeg reports an unsupported format only when it writes the header of a file.
    trial = av.open(io.BytesIO(), "w", "mp4")
    try:
        trial.add_stream_from_template(stream)
        trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    finally:
        trial.close()
    return True
