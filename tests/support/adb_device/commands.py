"""Translates paths in remote commands to the host's, and in their output to the device's."""

import re
from typing import Final

# Folders of the device. /proc only has files that describe the phone, as processes are the host's.
_FOLDERS: Final = (
    r"apex|cache|data|data_mirror|etc|mnt|odm|product|sdcard|storage|sys|system|system_ext|vendor|"
    # Phones do not have these folders; commands must not reach the host's.
    r"bin|boot|home|lib|lib64|opt|root|run|sbin|srv|tmp|usr|var|"
    r"proc/(?:cpuinfo|loadavg|meminfo|sys|uptime|version)"
)
_TOKEN: Final = re.compile(
    rf"\\.|'|\"|(?<![\w./}}*?\])])/(?:{_FOLDERS})(?![\w.-])", re.ASCII | re.DOTALL
)
# Messages of bash and of the host's tools, which Android's mksh and toybox word differently.
_BASH: Final = re.compile(rb"^(/system/bin/sh: )line \d+: (.*)$", re.MULTILINE)
_HOST_TOOL: Final = re.compile(rb"^/usr/bin/([\w.-]+: )", re.MULTILINE)


def to_host(command: str, root: str) -> str:
    """Prefixes `root` to each device path at the start of a word or of a quoted part of one."""
    parts: list[str] = []
    end = 0
    quote = ""
    quote_at = -1
    for token in _TOKEN.finditer(command):
        text = token[0]
        if text.startswith("\\") and quote != "'":
            continue
        if text in ("'", '"'):
            if not quote:
                quote, quote_at = text, token.start()
            elif quote == text:
                quote = ""
        elif text.startswith("/"):
            if command.startswith(root, token.start()):
                continue
            before = command[token.start() - 1 : token.start()]
            # After a closing quote the slash is not the start of a word, as in "$DIR"/data.
            if before not in ("'", '"') or (quote and quote_at == token.start() - 1):
                parts += [command[end : token.start()], root]
                end = token.start()
    return "".join(parts) + command[end:]


class OutputFilter:
    """Removes the path of the disk's folder from a command's output, which may be binary.

    The name of the folder is random, so that other output does not contain it.

    Args:
      root: The folder.
      messages: Whether the output is error messages, which are then worded as on a phone.
    """

    def __init__(self, root: str, *, messages: bool) -> None:
        self._root = root.encode()
        self._messages = messages
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """Returns the output that can be passed on; the rest is kept until more output follows."""
        data = self._kept + data
        keep = 0
        if self._messages:
            # Rewording a message needs the whole line.
            keep = len(data) - data.rfind(b"\n") - 1
        else:
            # The output may end within the name of the folder.
            for size in range(min(len(self._root), len(data)), 0, -1):
                if data.endswith(self._root[:size]):
                    keep = size
                    break
            # The slash after the folder's name may also start another occurrence of it.
            if data[: len(data) - keep].endswith(self._root):
                keep += len(self._root)
        self._kept = data[len(data) - keep :]
        return self._device_text(data[: len(data) - keep])

    def flush(self) -> bytes:
        """Returns the output that was kept, at the end of the output."""
        data, self._kept = self._kept, b""
        return self._device_text(data)

    def _device_text(self, data: bytes) -> bytes:
        data = data.replace(self._root + b"/", b"/").replace(self._root, b"/")
        if self._messages:
            data = _HOST_TOOL.sub(rb"\1", data)
            data = _BASH.sub(lambda match: match[1] + _as_mksh(match[2]), data)
        return data


def _as_mksh(message: bytes) -> bytes:
    message = re.sub(rb": command not found$", b": inaccessible or not found", message)
    message = re.sub(
        rb": cannot execute binary file: Exec format error$",
        b": not executable: 64-bit ELF file",
        message,
    )
    return re.sub(
        rb"^(/[^ ]+): Permission denied$", rb"\1: can't execute: Permission denied", message
    )
