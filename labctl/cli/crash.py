"""Where the details of an unexpected fault go, so that they are not on the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from labctl import __version__, vault
from labctl.paths import state_dir


def write_log(error: BaseException) -> Path:
    """Write the traceback to a new file only its owner can read; the path comes back."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (state_dir() / "crashes", Path(tempfile.gettempdir())):
        path = folder / (name if folder.name == "crashes" else f"labctl-crash-{name}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"labctl {__version__}, Python {sys.version}\n")
            stream.write(vault.hide("".join(traceback.format_exception(error))))
        return path
    return Path(os.devnull)
