"""Makes whole pictures of interlaced frames, as players do."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream

# One frame out for each frame in, and progressive frames unchanged.
_FILTER, _OPTIONS = "bwdif", "mode=send_frame:deint=interlaced"


def deinterlaced(frames: "Iterable[VideoFrame]", stream: "VideoStream") -> "Iterator[VideoFrame]":
    """Interpolates the rows of the second field of interlaced frames.

    The rows of such a frame, as camcorders and television have them, are from two times in turn: a
    face that moves would be seen twice. Frames before the first that is interlaced pass at once.

    Args:
      frames: decoded frames of a video.
      stream: its picture track.

    Yields:
      As many frames, each with a time base of its own.
    """
    import av

    graph, form = None, None
    for frame in frames:
        is_whole = graph is None and not frame.interlaced_frame
        if is_whole or _FILTER not in av.filter.filters_available:
            yield frame
            continue
        if form != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                yield from _rest(graph)
            form = (frame.width, frame.height, frame.format.name)
            graph = _graph(frame, stream)
        assert graph is not None
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        yield from _rest(graph)


def _graph(frame: "VideoFrame", stream: "VideoStream") -> "Graph":
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or stream.time_base,
    )
    graph.link_nodes(source, graph.add(_FILTER, _OPTIONS), graph.add("buffersink")).configure()
    return graph


def _pulled(graph: "Graph") -> "Iterator[VideoFrame]":
    import av

    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def _rest(graph: "Graph") -> "Iterator[VideoFrame]":
    graph.push(None)
    yield from _pulled(graph)
