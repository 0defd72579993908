"""The `serve` command, which serves a web page that runs a bundle in the browser."""

import argparse
import contextlib
import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from task_bundle.bundle import TaskBundle
from task_bundle.command_files import check_input_files
from task_bundle.command_line import INTERRUPTED, listening_port, printable
from task_bundle.web.page import page_files
from task_bundle.web.server import HOST, WebServer
from task_bundle.web.tasks_vision import (
    PACKAGE,
    VERSION,
    find_tasks_vision,
    install_tasks_vision,
)

if TYPE_CHECKING:
    from task_bundle.command_line import SubCommands

_DEFAULT_PORT = 8765


def add_serve(commands: "SubCommands") -> None:
    """Adds the command to those of a program.

    Args:
      commands: What `argparse.ArgumentParser.add_subparsers` returned.
    """
    serve = commands.add_parser(
        "serve",
        help="serve a web page on this computer that runs a bundle in the browser",
        description=f"Serves a web page at {HOST}, only to browsers on this computer, also through"
        " a tunnel such as ssh -L 9000:localhost:8765. It runs the"
        f" bundle on photos and on the camera, with MediaPipe's npm package {PACKAGE} {VERSION}."
        " Nothing is downloaded without --install-tasks-vision.",
    )
    serve.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE")
    serve.add_argument(
        "--port",
        type=listening_port,
        default=_DEFAULT_PORT,
        help=f"port of the web server ({_DEFAULT_PORT}); 0 chooses a free one",
    )
    serve.add_argument(
        "--host",
        type=_ipv4_address,
        default=HOST,
        metavar="ADDRESS",
        help=f"address to listen on ({HOST}); 0.0.0.0 in a container whose port is published, which"
        " then should be to 127.0.0.1 alone. Browsers must call it localhost in any case",
    )
    package = serve.add_mutually_exclusive_group()
    package.add_argument(
        "--tasks-vision",
        type=Path,
        metavar="DIR",
        help="folder of the unpacked npm package; default: node_modules of the working directory,"
        " then the package that --install-tasks-vision has installed",
    )
    package.add_argument(
        "--install-tasks-vision",
        action="store_true",
        help="first install the npm package (20 MB) in the cache, with npm; BUNDLE may be omitted",
    )

    def run(arguments: argparse.Namespace) -> int:
        if arguments.bundle is None and not arguments.install_tasks_vision:
            serve.error("name a BUNDLE, or pass --install-tasks-vision")
        return _serve(arguments)

    serve.set_defaults(run=run)


def _serve(arguments: argparse.Namespace) -> int:
    check_input_files(arguments.bundle)
    if arguments.install_tasks_vision:
        _print(str(install_tasks_vision()))
        if arguments.bundle is None:
            return 0
    bundle = TaskBundle.open(arguments.bundle)
    tasks_vision = find_tasks_vision(arguments.tasks_vision)
    files = page_files(bundle, str(arguments.bundle), tasks_vision)
    server = WebServer(files, arguments.port, arguments.host)
    with contextlib.closing(server), contextlib.suppress(KeyboardInterrupt):
        _print(f"{arguments.bundle} is served at {server.url} (Ctrl-C ends it)")
        server.serve_forever()
    # Without a message, because Ctrl-C is the usual way to end the server.
    return INTERRUPTED


def _ipv4_address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IPv4 address") from error


def _print(line: str) -> None:
    sys.stdout.write(f"{printable(line)}\n")
    # Flushed for programs that read the address from a pipe.
    sys.stdout.flush()
