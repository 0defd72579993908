"""Downloads a file. This happens only when the user asks for it."""

from task_bundle.errors import DownloadError


def fetch(url: str, timeout: float, max_bytes: int) -> bytes:
    """Downloads a file into memory.

    Args:
      url: its http(s) address.
      timeout: seconds to wait for the connection, and for each part of the response.
      max_bytes: the largest accepted size.

    Returns:
      The complete content. The caller checks its hash.

    Raises:
      DownloadError: the address is not http(s), the server does not respond or refuses, the
        connection was cut, or the content has more than `max_bytes`.
    """
    # Imported here because they are slow to import and only needed for downloads.
    import http.client
    import urllib.request

    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"cannot download {url}: not an http(s) address")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            data: bytes = response.read(max_bytes + 1)
            announced = response.headers.get("Content-Length", "")
    # URLError and timeouts are OSErrors; a cut connection is an HTTPException.
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"cannot download {url}: {error}") from error
    if len(data) > max_bytes:
        raise DownloadError(f"cannot download {url}: the content has more than {max_bytes} bytes")
    # `read` with a size does not raise IncompleteRead when the connection is cut.
    if announced.isdigit() and len(data) < int(announced):
        raise DownloadError(
            f"cannot download {url}: the connection was cut after {len(data)} of {announced} bytes"
        )
    return data
