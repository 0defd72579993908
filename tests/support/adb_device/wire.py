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

# The first version whose messages need no checksum; peers use the older of their two versions.
VERSION: Final = 0x01000001
MAX_PAYLOAD: Final = 1024 * 1024
# Limit of CNXN and AUTH, which are sent before the peer's limit is known.
MAX_PAYLOAD_V1: Final = 4096

_HEADER: Final = struct.Struct("<6I")


class ProtocolError(Exception):
    """The peer sent something that adb's protocol does not allow."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of the transport.

    Attributes:
      command: One of the constants above.
      arg0: The sender's stream, or the first argument of the command.
      arg1: The receiver's stream, or the second argument of the command.
      payload: Data, at most as many bytes as the peer accepts.
    """

    command: int
    arg0: int = 0
    arg1: int = 0
    payload: bytes = b""

    def pack(self) -> bytes:
        """Returns the message as bytes, with the checksum that old peers need."""
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
      EOFError: the peer disconnected.
      ProtocolError: the bytes are not a message.
    """
    command, arg0, arg1, length, _, magic = _HEADER.unpack(_exactly(connection, _HEADER.size))
    if command ^ magic != 0xFFFFFFFF:
        raise ProtocolError(f"message {command:#x} has the magic {magic:#x}")
    if length > MAX_PAYLOAD:
        raise ProtocolError(f"the payload has {length} bytes; at most {MAX_PAYLOAD} are allowed")
    return Message(command, arg0, arg1, _exactly(connection, length))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if not count:
            raise EOFError("the peer disconnected")
        filled += count
    return bytes(data)
