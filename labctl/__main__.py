"""`python -m labctl`."""

import atexit
import gc
import os
import sys
import threading

gc.set_threshold(100_000, 20, 20)  # modules stay, and a run makes little that only the collector can free

from labctl.cli.main import main  # noqa: E402


def open_streams() -> None:
    """Whoever starts labctl with a closed stream (`>&-`) wants nothing of it; no other file must get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as labctl runs


def leave(code: int) -> None:
    """End the process without taking apart every module and object first, which the kernel does at once."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as the interpreter itself does
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:  # nobody reads on
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    open_streams()
    leave(main())
