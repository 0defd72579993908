"""The messages of adb's transport, as AOSP's adb/protocol.txt defines them."""

import dataclasses
import socket
import struct
from typing import Final

CNXN: Final = 0x4E584E43
AUTH: Final = 0x48545541
OPEN: Final = 0x4E45504F
OKAY: Final = 0x59414B4F
CLSE: Final = 0x45534C43
WRTE: Final = 0x45545257

AUTH_TOKEN: Final = 1
AUTH_SIGNATURE: Final = 2
AUTH_RSAPUBLICKEY: Final = 3

# The first version whose messages need no checksum; peers speak the older one's version.
VERSION: Final = 0x01000001
MAX_PAYLOAD: Final = 1024 * 1024
# CNXN and AUTH are sent before the peer's limit is known.
MAX_PAYLOAD_V1: Final = 4096

_HEADER: Final = struct.Struct("<6I")


class ProtocolError(Exception):
    """The peer sent what adb's protocol does not allow."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of the transport.

    Attributes:
      command: one of the constants above.
      arg0: the sender's stream, or the command's first argument.
      arg1: the receiver's stream, or the command's second argument.
      payload: at most what the peer said it takes.
    """

    command: int
    arg0: int = 0
    arg1: int = 0
    payload: bytes = b""

    def pack(self) -> bytes:
        """The message as it goes over the wire, checksum included: old peers want one."""
        return (
            _HEADER.pack(
                self.command,
                self.arg0,
                self.arg1,
                len(self.payload),
                sum(self.payload) & 0xFFFFFFFF if self.command in (CNXN, AUTH) else 0,
                self.command ^ 0xFFFFFFFF,
            )
            + self.payload
        )


def receive(connection: socket.socket) -> Message:
    """Reads the next message.

    Raises:
      EOFError: the peer hung up.
      ProtocolError: what came is no message.
    """
    command, arg0, arg1, length, _, magic = _HEADER.unpack(_exactly(connection, _HEADER.size))
    if command ^ magic != 0xFFFFFFFF:
        raise ProtocolError(f"message {command:#x} has the magic {magic:#x}")
    if length > MAX_PAYLOAD:
        raise ProtocolError(f"a payload of {length} bytes; at most {MAX_PAYLOAD} were agreed on")
    return Message(command, arg0, arg1, _exactly(connection, length))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if not count:
            raise EOFError("the peer hung up")
        filled += count
    return bytes(data)
