"""The `studio` command, which serves the studio's page on this computer."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import pathlib
import socket
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from task_bundle.command_line import (
    INTERRUPTED,
    add_face_landmarker,
    listening_port,
    positive_int,
)
from task_bundle.errors import MissingDependencyError

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands

_HOST = "127.0.0.1"
_DEFAULT_PORT = 8766
_STEPS = 100


def add_studio(commands: SubCommands) -> None:
    """Adds the command to those of a program.

    Args:
      commands: What `argparse.ArgumentParser.add_subparsers` returned.
    """
    studio = commands.add_parser(
        "studio",
        help="paint, pick a style, and make a stylizer in the browser",
        description=f"Serves a page at {_HOST}, for this computer alone: drop style pictures and a "
        "selfie, and a painting of it appears in seconds; pick a ready style; or make a stylizer "
        "and download its .task. Pictures stay on this computer. Needs the extra 'studio', and for "
        "making stylizers 'train'.",
    )
    studio.add_argument(
        "--port",
        type=listening_port,
        default=_DEFAULT_PORT,
        help=f"port of the web server ({_DEFAULT_PORT}); 0 chooses a free one",
    )
    studio.add_argument(
        "--steps",
        type=positive_int,
        default=_STEPS,
        help=f"training steps of a stylizer ({_STEPS})",
    )
    studio.add_argument(
        "--open", action="store_true", help="open the page in the browser of this computer"
    )
    studio.add_argument(
        "--share",
        action="store_true",
        help="also make a public address through Gradio's server, for up to a week; pictures then "
        "pass through it, and whoever has the address can use this computer's studio",
    )
    add_face_landmarker(studio, "take face detector and landmark model from this bundle")
    studio.set_defaults(run=_studio)


def _studio(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("gradio") is None:
        raise MissingDependencyError(
            "the studio needs Gradio, which is not installed:"
            " pip install 'mm-face-stylizer[studio]'"
        )
    # OpenCV writes warnings to stderr; what matters raises an exception instead.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    port = arguments.port or _free_port()
    if not _is_free(port):
        raise OSError(f"cannot listen on port {port} of {_HOST}, which is in use; try --port 0")
    sys.stderr.write("loading the studio\n")
    with tempfile.TemporaryDirectory(prefix="face-stylizer-studio-") as folder:
        keep_gradio_at_home(folder)
        from mm_face_stylizer.studio.page import StudioPage
        from mm_face_stylizer.studio.workshop import Workshop
        from task_bundle.faces.face_models import find_face_models

        with Workshop(find_face_models(arguments.face_landmarker)) as workshop:
            page = StudioPage(workshop, pathlib.Path(folder), arguments.steps)
            with contextlib.suppress(KeyboardInterrupt), contextlib.closing(page):
                local, public = page.launch(port, arguments.share, arguments.open)
                shared = f" and at {public}" if public else ""
                sys.stdout.write(f"the studio is at {local}{shared} (Ctrl-C ends it)\n")
                sys.stdout.flush()
                threading.Event().wait()
    # Without a message, because Ctrl-C is the usual way to end the server.
    return INTERRUPTED


def keep_gradio_at_home(folder: str) -> None:
    """Sets what Gradio reads when it is imported: nobody is told of its use.

    Args:
      folder: Where uploads are kept.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = folder
    # A public address is made only if --share asks for it.
    os.environ.pop("GRADIO_SHARE", None)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return False
    return True
