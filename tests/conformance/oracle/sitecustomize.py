"""Keeps the bytecode of what Python imports from archives, as Python does for files: ansible-core sends every
module as an archive of source, whose compilation would be a third of the time that this suite takes.

On the oracle's PYTHONPATH, and on its node. The folder is $CONFORMANCE_COMPILED.
"""

import marshal
import os
import zipimport
from _imp import source_hash

_FOLDER = os.environ.get("CONFORMANCE_COMPILED", "/var/cache/conformance")
_compile = zipimport._compile_source


def _compiled(pathname, source):
    path = os.path.join(_FOLDER, source_hash(0, source).hex())
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except (OSError, EOFError, ValueError):
        code = _compile(pathname, source)
    try:
        os.makedirs(_FOLDER, exist_ok=True)
        part = f"{path}.{os.getpid()}"
        with open(part, "wb") as file:
            marshal.dump(code, file)
        os.replace(part, path)
    except OSError:  # another user's folder
        pass
    return code


zipimport._compile_source = _compiled
