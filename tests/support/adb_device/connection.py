"""One host's connection to the device: the handshake, and the streams inside it."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import adb_key, services, wire

if TYPE_CHECKING:
    from .device import AdbDevice


class Stream:
    """One service's byte stream inside a connection.

    A write waits until the host has taken the one before: adb allows one message in flight.
    """

    def __init__(self, connection: "Connection", local: int, remote: int) -> None:
        self._connection = connection
        self._local = local
        self._remote = remote
        self._changed = threading.Condition()
        self._received = bytearray()
        self._acknowledged = True
        self._ended = False
        self._closed = False

    def read(self, size: int) -> bytes:
        """Returns 1 to `size` bytes, or none once the host has closed the stream."""
        with self._changed:
            self._changed.wait_for(lambda: self._received or self._ended)
            data = bytes(self._received[:size])
            del self._received[:size]
            # As with adbd, the host may send more once a message has been read completely.
            taken = data and not self._received
        if taken and not self._ended:
            self._connection.send(wire.Message(wire.OKAY, self._local, self._remote))
        return data

    def read_exactly(self, size: int) -> bytes:
        """Returns `size` bytes.

        Raises:
          EOFError: the host closed the stream first.
        """
        data = bytearray()
        while len(data) < size:
            part = self.read(size - len(data))
            if not part:
                raise EOFError("the host closed the stream")
            data += part
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Sends `data`, in as many messages as it takes.

        Raises:
          BrokenPipeError: the host is gone.
        """
        limit = self._connection.max_payload
        for start in range(0, len(data), limit):
            with self._changed:
                self._changed.wait_for(lambda: self._acknowledged or self._ended)
                if self._ended:
                    raise BrokenPipeError("the host closed the stream")
                self._acknowledged = False
            self._connection.send(
                wire.Message(wire.WRTE, self._local, self._remote, data[start : start + limit])
            )

    def close(self) -> None:
        """Ends the stream after the host has acknowledged everything that was written."""
        with self._changed:
            self._changed.wait_for(lambda: self._acknowledged or self._ended)
            if self._closed:
                return
            self._closed = self._ended = True
            self._changed.notify_all()
        self._connection.forget(self._local)
        self._connection.send(wire.Message(wire.CLSE, self._local, self._remote))

    def on_write(self, data: bytes) -> None:
        """Handles data from the host."""
        with self._changed:
            self._received += data
            self._changed.notify_all()
        if not data:
            self._connection.send(wire.Message(wire.OKAY, self._local, self._remote))

    def on_okay(self) -> None:
        """Handles the acknowledgement of the last message."""
        with self._changed:
            self._acknowledged = True
            self._changed.notify_all()

    def on_close(self) -> None:
        """Handles that the host closed the stream or disconnected."""
        with self._changed:
            self._ended = self._closed = True
            self._changed.notify_all()


class Connection(threading.Thread):
    """Reads one host's messages, and runs each service that it opens in a thread of its own."""

    def __init__(self, device: "AdbDevice", peer: socket.socket) -> None:
        super().__init__(name=f"adb connection {device.serial}", daemon=True)
        self._device = device
        self._peer = peer
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._streams_lock = threading.Lock()
        self._next_stream = 1
        self._services: list[threading.Thread] = []
        self._token = b""
        self._online = False
        self.max_payload = wire.MAX_PAYLOAD_V1

    def run(self) -> None:
        """Serves until the host disconnects or `close` is called."""
        try:
            while True:
                self._dispatch(wire.receive(self._peer))
        except (EOFError, OSError, wire.ProtocolError):
            pass
        finally:
            self._online = False
            self._end_streams()
            self._peer.close()
            for service in self._services:
                service.join()
            self._device.on_disconnect(self)

    def close(self) -> None:
        """Disconnects at once and loses data in flight, as when a cable is pulled."""
        with contextlib.suppress(OSError):  # The host disconnected first.
            self._peer.shutdown(socket.SHUT_RDWR)

    def go_offline(self) -> None:
        """Makes the host list the device as offline, while the connection stays."""
        self._online = False
        # After a type of AUTH that hosts do not know, they list the device as offline.
        self.send(wire.Message(wire.AUTH, 0, 0, b""))

    def send(self, message: wire.Message) -> None:
        """Sends a message; only the reading side notices that the host has disconnected."""
        try:
            with self._sending:
                self._peer.sendall(message.pack())
        except OSError:
            self.close()

    def _end_streams(self) -> None:
        with self._streams_lock:
            streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.on_close()

    def forget(self, local: int) -> None:
        """Forgets a closed stream."""
        with self._streams_lock:
            self._streams.pop(local, None)

    def _dispatch(self, message: wire.Message) -> None:
        if message.command == wire.CNXN:
            self.max_payload = min(message.arg1, wire.MAX_PAYLOAD)
            self._device.on_greeting(self)
        elif message.command == wire.AUTH:
            self._authenticate(message)
        elif not self._online:
            pass  # adbd ignores all other messages before the end of the handshake.
        elif message.command == wire.OPEN:
            self._open(message)
        else:
            with self._streams_lock:
                stream = self._streams.get(message.arg1)
            if stream is None:
                return
            if message.command == wire.WRTE:
                stream.on_write(message.payload)
            elif message.command == wire.OKAY:
                stream.on_okay()
            elif message.command == wire.CLSE:
                self.forget(message.arg1)
                stream.on_close()

    def greet(self) -> None:
        """Answers the handshake, after which the device is online and old streams are closed."""
        self._end_streams()
        self._online = True
        banner = f"device::{self._device.banner}".encode()
        self.send(wire.Message(wire.CNXN, wire.VERSION, wire.MAX_PAYLOAD, banner))

    def ask_for_key(self) -> None:
        """Sends a fresh token for the host to sign."""
        self._token = os.urandom(adb_key.TOKEN_SIZE)
        self.send(wire.Message(wire.AUTH, wire.AUTH_TOKEN, 0, self._token))

    def _authenticate(self, message: wire.Message) -> None:
        if message.arg0 == wire.AUTH_SIGNATURE:
            for key in self._device.trusted_keys:
                if key.verifies(self._token, message.payload):
                    self.greet()
                    return
            self.ask_for_key()
        elif message.arg0 == wire.AUTH_RSAPUBLICKEY:
            # On a phone the dialog "Allow USB debugging?" is now on the screen.
            allowed = self._device.on_key_offered(adb_key.PublicKey.parse(message.payload))
            if allowed:
                self.greet()

    def _open(self, message: wire.Message) -> None:
        destination = message.payload.rstrip(b"\0").decode()
        service = services.find(self._device, destination)
        if service is None:
            self.send(wire.Message(wire.CLSE, 0, message.arg0))
            return
        with self._streams_lock:
            local, self._next_stream = self._next_stream, self._next_stream + 1
            stream = self._streams[local] = Stream(self, local, message.arg0)
        self.send(wire.Message(wire.OKAY, local, message.arg0))
        thread = threading.Thread(
            target=_serve, args=(service, stream), name=f"adb {destination[:40]}", daemon=True
        )
        self._services = [t for t in self._services if t.is_alive()] + [thread]
        thread.start()


def _serve(service: Callable[[Stream], None], stream: Stream) -> None:
    try:
        service(stream)
    except (EOFError, BrokenPipeError):
        pass  # The host closed the stream or disconnected.
    finally:
        stream.close()
