"""bin/labctl finds its checkout however it is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from labctl import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        (ROOT, "bin/labctl"),
        (ROOT, "./bin/labctl"),
        (ROOT / "bin", "./labctl"),
        (ROOT / "docs", "../bin/labctl"),
        (ROOT / "bin", "labctl"),
        (Path("/"), "LINK"),
    ],
)
def test_however_it_is_called(tmp_path, folder, command):
    (tmp_path / "link").symlink_to(ROOT / "bin/labctl")
    words = ["bash", "-c", f"{command.replace('LINK', str(tmp_path / 'link'))} --version"]
    environment = os.environ | {"PATH": f".:{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"labctl {__version__}\n", "")
