"""Images in containerd's namespace `labctl`: what of one is not here yet, and loading an OCI archive."""

import os
import subprocess
from typing import Any, BinaryIO, Dict, List, Optional


class ImageError(Exception):
    pass


def missing(name: str, digest: str, blobs: List[str]) -> Dict[str, Any]:
    """{"present": whether this very image has the name here, "named": whether any has, "missing": digests that
    are not here}."""
    named = False
    for line in _ctr("images", "ls", "name==%s" % name).splitlines()[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[0] == name:
            named = True
            if fields[2] == digest:
                return {"present": True, "named": True, "missing": []}
    here = set(_ctr("content", "ls", "-q").split()) if blobs else set()
    return {"present": False, "named": named, "missing": [blob for blob in blobs if blob not in here]}


def load(path: str, name: str, digest: str) -> Dict[str, Any]:
    """Import an archive and remove the file. ImageError when the image is not what it should be then."""
    with open(path, "rb") as stream:
        os.unlink(path)  # now: whoever is killed while it is imported leaves no file behind
        said = _ctr("images", "import", "-", stdin=stream)
    if not missing(name, digest, [])["present"]:
        raise ImageError("containerd imported another image than %s: %s" % (digest, said.strip()))
    return {"loaded": name}


def remove(name: str) -> bool:
    """Forget an image; False when it was not here."""
    if name not in _ctr("images", "ls", "-q", "name==%s" % name).split():
        return False
    _ctr("images", "rm", "--sync", name)
    return True


def _ctr(*arguments: str, stdin: Optional[BinaryIO] = None) -> str:
    try:
        done = subprocess.run(
            ["ctr", "-n", "labctl", *arguments],
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
    except FileNotFoundError:
        raise ImageError("there is no 'ctr' on this node: is containerd installed?") from None
    if done.returncode:
        raise ImageError("ctr %s: %s" % (arguments[0], done.stderr.decode(errors="replace").strip()))
    return done.stdout.decode(errors="replace")
