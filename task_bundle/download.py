"""Downloading a file, which happens only where a user asks for it."""

from task_bundle.errors import DownloadError


def fetch(url: str, timeout: float, max_bytes: int) -> bytes:
    """Downloads a file into memory.

    Args:
      url: its http(s) address.
      timeout: seconds to wait for an answer, and for each part of it.
      max_bytes: the most that it can have.

    Returns:
      The content, complete but unchecked: hashing it is the caller's part.

    Raises:
      DownloadError: the address is of another kind, the server does not answer or refuses, the
        connection was cut, or the answer has more than `max_bytes`.
    """
    # Slow to import, and needed by nothing else.
    import http.client
    import urllib.request

    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"cannot download {url}: not an http(s) address")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            data: bytes = response.read(max_bytes + 1)
            announced = response.headers.get("Content-Length", "")
    # URLError and time-outs are OSErrors; a cut connection is an HTTPException.
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"cannot download {url}: {error}") from error
    if len(data) > max_bytes:
        raise DownloadError(f"cannot download {url}: the answer has no end in sight")
    # A bounded read does not notice by itself.
    if announced.isdigit() and len(data) < int(announced):
        raise DownloadError(
            f"cannot download {url}: the connection was cut after {len(data)} of {announced} bytes"
        )
    return data
