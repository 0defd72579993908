"""Remote commands on the host's shell: paths go in as the host's and come out as the device's."""

import re
from typing import Final

# Folders of the device. Of /proc only what describes the phone: processes are the host's.
_FOLDERS: Final = (
    r"apex|cache|data|data_mirror|etc|mnt|odm|product|sdcard|storage|sys|system|system_ext|vendor|"
    # No phone has these; the host's must not be mistaken for them.
    r"bin|boot|home|lib|lib64|opt|root|run|sbin|srv|tmp|usr|var|"
    r"proc/(?:cpuinfo|loadavg|meminfo|sys|uptime|version)"
)
_TOKEN: Final = re.compile(
    rf"\\.|'|\"|(?<![\w./}}*?\])])/(?:{_FOLDERS})(?![\w.-])", re.ASCII | re.DOTALL
)
# What bash and the host's tools call otherwise than Android's mksh and toybox do.
_BASH: Final = re.compile(rb"^(/system/bin/sh: )line \d+: (.*)$", re.MULTILINE)
_HOST_TOOL: Final = re.compile(rb"^/usr/bin/([\w.-]+: )", re.MULTILINE)


def to_host(command: str, root: str) -> str:
    """Puts `root` before every path of the device that begins a word, or a quoted part of one."""
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
            # After a closing quote the word has begun before: "$DIR"/data.
            if before not in ("'", '"') or (quote and quote_at == token.start() - 1):
                parts += [command[end : token.start()], root]
                end = token.start()
    return "".join(parts) + command[end:]


class OutputFilter:
    """Takes the disk's folder out of what a command prints; for binary output, too.

    The folder's name is random, so that nothing else looks like it.

    Args:
      root: the folder.
      messages: whether these are error messages, to be worded as a phone's.
    """

    def __init__(self, root: str, *, messages: bool) -> None:
        self._root = root.encode()
        self._messages = messages
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on; the rest waits for what follows it."""
        data = self._kept + data
        keep = 0
        if self._messages:
            # A message is known by its beginning and worded by its end.
            keep = len(data) - data.rfind(b"\n") - 1
        else:
            # The folder's name, or its beginning, at the very end: what follows decides.
            for size in range(min(len(self._root), len(data)), 0, -1):
                if data.endswith(self._root[:size]):
                    keep = size
                    break
            # A slash after the folder's name is the beginning of the next, too.
            if data[: len(data) - keep].endswith(self._root):
                keep += len(self._root)
        self._kept = data[len(data) - keep :]
        return self._device_text(data[: len(data) - keep])

    def flush(self) -> bytes:
        """What still waits, at the end of the output."""
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
