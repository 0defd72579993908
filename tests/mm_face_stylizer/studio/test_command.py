"""Tests of mm_face_stylizer.studio.command."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from interrupts import heed_interrupts

from mm_face_stylizer.cli import main


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else found(name)
    )
    assert main(["studio"]) == 1
    assert "pip install 'mm-face-stylizer[studio]'" in capsys.readouterr().err


def test_a_port_that_is_in_use(capsys) -> None:
    pytest.importorskip("gradio", reason="the studio's page needs the extra 'studio'")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["studio", "--port", str(port)]) == 1
    assert f"cannot listen on port {port} of 127.0.0.1" in capsys.readouterr().err


def test_it_serves_this_computer_until_it_is_interrupted(face_models, tmp_path) -> None:
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("the studio's page needs the extra 'studio'")
    command = [sys.executable, "-m", "mm_face_stylizer", "studio", "--port", "0"]
    # As for users who have set what Gradio offers: the studio is not shared for all that.
    set_before = {"GRADIO_SHARE": "True", "GRADIO_ANALYTICS_ENABLED": "True"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | set_before | {"TMPDIR": str(tmp_path)},
        preexec_fn=heed_interrupts,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(
                r"the studio is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line
            )
            assert found, line
            with urllib.request.urlopen(found[1] + "config", timeout=60) as answer:
                config = answer.read()
            assert b'"analytics_enabled":false' in config.replace(b" ", b"")
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130
        finally:
            process.kill()
    # Uploads are gone.
    assert not list(tmp_path.glob("face-stylizer-studio-*"))
