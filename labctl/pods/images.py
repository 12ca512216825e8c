"""Building OCI images on the controller, without a registry and without an image builder.

An image is a Debian base (mmdebstrap), a layer of Python packages when asked for, and a layer of files,
so that changing a program changes one small layer. Layers are uncompressed tars: nodes are near, and
compressing would cost more time than it saves. Everything is cached by the hash of what it came from.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labctl.errors import EnvironmentProblem, PlaybookError
from labctl.lab import system
from labctl.lab.mirror import host_mirror, transport_options
from labctl.pods.recipe import Recipe
from labctl.records import dataclass

Progress = Callable[[str, float | None], None]
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
_PIP_FOLDER = "opt/python"
_STALE = 86400.0
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, slots=True)
class Image:
    """A built image. `digest` is its manifest's ('sha256:…'); `blobs` are the digests it is made of,
    with sizes in bytes, the manifest last."""

    name: str
    digest: str
    blobs: dict[str, int]
    store: Path

    @property
    def size(self) -> int:
        return sum(self.blobs.values())


def cached(recipe: Recipe, cache: Path) -> Image | None:
    """The image of a recipe when it was built before and is whole."""
    store = cache / "images"
    return _cached(store / f"{recipe.key()}.json", store)


def build(recipe: Recipe, cache: Path, progress: Progress) -> Image:
    """The image of a recipe, from the cache or built now. PlaybookError when a package cannot be had,
    EnvironmentProblem when this machine cannot build. Safe to call from many threads and processes."""
    store = cache / "images"
    (store / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    _sweep(store)
    key = recipe.key()
    with _locked(store / f"{key}.lock"):
        index = store / f"{key}.json"
        if (image := _cached(index, store)) is not None:
            return image
        with _locked(store / f"{recipe.base_key()}.lock"):
            layers = [_layer(store, recipe.base_key(), lambda to: _base(recipe, to, progress))]
            environment = dict(recipe.env)
            if recipe.pip:
                base = store / "blobs" / "sha256" / layers[0]
                layers.append(
                    _layer(store, recipe.pip_key(), lambda to: _packages(recipe, base, to, progress))
                )
                environment.setdefault("PYTHONPATH", f"/{_PIP_FOLDER}")
        progress(f"packing {recipe.name}", None)
        layers.append(_blob(store, _files_layer(recipe)))
        image = _assemble(recipe, store, layers, environment)
        _write(index, json.dumps({"name": image.name, "digest": image.digest, "blobs": image.blobs}).encode())
        return image


def archive(image: Image, digests: Collection[str], path: Path) -> None:
    """Write an OCI archive that holds these blobs of the image (a node may have the others already)."""
    manifest = {
        "mediaType": _MANIFEST,
        "digest": image.digest,
        "size": image.blobs[image.digest],
        "annotations": {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name,
        },
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(tar, "index.json", json.dumps(index).encode())
        for digest in image.blobs:
            if digest in digests:
                name = digest.split(":", 1)[1]
                tar.add(image.store / "blobs" / "sha256" / name, f"blobs/sha256/{name}")


def _cached(index: Path, store: Path) -> Image | None:
    try:
        found = json.loads(index.read_bytes())
    except FileNotFoundError:
        return None
    blobs = {str(digest): int(size) for digest, size in found["blobs"].items()}
    paths = {digest: store / "blobs" / "sha256" / digest.split(":", 1)[1] for digest in blobs}
    if any(not path.is_file() or path.stat().st_size != blobs[digest] for digest, path in paths.items()):
        return None
    return Image(found["name"], found["digest"], blobs, store)


def _assemble(recipe: Recipe, store: Path, layers: list[str], environment: dict[str, str]) -> Image:
    size = {f"sha256:{layer}": (store / "blobs" / "sha256" / layer).stat().st_size for layer in layers}
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config: dict[str, Any] = {
        "architecture": _ARCHITECTURE.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Env": [path, *(f"{name}={value}" for name, value in sorted(environment.items()))],
            "Cmd": list(recipe.cmd),
        },
        "rootfs": {"type": "layers", "diff_ids": list(size)},
    }
    config_digest, config_size = _put(store, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": config_digest, "size": config_size},
        "layers": [{"mediaType": _LAYER, "digest": digest, "size": n} for digest, n in size.items()],
    }
    digest, manifest_size = _put(store, manifest)
    return Image(recipe.name, digest, {**size, config_digest: config_size, digest: manifest_size}, store)


def _layer(store: Path, key: str, make: Callable[[Path], None]) -> str:
    """The layer remembered under `key`, or made now: the hex sha256 of its tar."""
    note = store / f"{key}.layer"
    if note.is_file():
        digest, _, size = note.read_text().partition(" ")
        known = store / "blobs" / "sha256" / digest
        if known.is_file() and str(known.stat().st_size) == size:
            return digest
    with tempfile.TemporaryDirectory(prefix="layer-", dir=store) as work:
        path = Path(work) / "layer.tar"
        make(path)
        size = str(path.stat().st_size)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        path.rename(store / "blobs" / "sha256" / digest)
    _write(note, f"{digest} {size}".encode())
    return digest


def _base(recipe: Recipe, target: Path, progress: Progress) -> None:
    """A Debian root file system as a tar, from the archive this machine itself installs from."""
    system.require_root()
    system.install(system.missing({"mmdebstrap": "mmdebstrap"}), progress)
    title = f"building the base of {recipe.name}: Debian {recipe.suite}"
    progress(title, None)
    with tempfile.NamedTemporaryFile("w", prefix="labctl-apt-", suffix=".conf") as settings:
        settings.write(transport_options())
        settings.flush()
        argv = [
            "mmdebstrap",
            "--mode=root",
            f"--variant={recipe.variant}",
            "--format=tar",
            "--skip=output/dev",
        ]
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
        argv += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", "--dpkgopt=force-unsafe-io"]
        argv += [f"--include={','.join(recipe.packages)}"] if recipe.packages else []
        argv += [f"--aptopt={settings.name}"] if Path(settings.name).stat().st_size else []
        mirror = host_mirror()
        _run([*argv, recipe.suite, str(target), *([mirror] if mirror else [])], title, progress)


def _packages(recipe: Recipe, base: Path, target: Path, progress: Progress) -> None:
    """Python packages for the base's own Python, as a tar of one folder."""
    version = _python_of(base)
    title = f"installing {', '.join(recipe.pip)} for Python {version}"
    progress(title, None)
    with tempfile.TemporaryDirectory(prefix="pip-", dir=target.parent) as folder:
        machine = platform.machine()
        if importlib.util.find_spec("pip"):
            argv = [sys.executable, "-m", "pip", "install", "--no-compile", "--only-binary=:all:"]
            argv += ["--python-version", version, "--implementation", "cp"]
            for age in ("2_28", "2_17", "2014"):
                argv += ["--platform", f"manylinux{'_' if '_' in age else ''}{age}_{machine}"]
        elif uv := shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"):
            argv = [uv, "pip", "install", "--only-binary=:all:", "--python-version", version]
            argv += ["--python-platform", f"{machine}-manylinux_2_28"]
        else:
            raise EnvironmentProblem("Python packages for an image need pip or uv on this machine")
        _run([*argv, "--target", folder, *recipe.pip], title, progress)
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(folder, _PIP_FOLDER, filter=_plain)


def _python_of(base: Path) -> str:
    """The version ('3.11') of python3 in a base layer."""
    with tarfile.open(base) as tar:
        for member in tar:
            if member.name.lstrip("./") == "usr/bin/python3" and member.issym():
                return member.linkname.rsplit("python", 1)[-1]
    raise PlaybookError(
        "an image with 'pip' packages needs 'python3' or 'python3-minimal' among its packages"
    )


def _files_layer(recipe: Recipe) -> bytes:
    """The recipe's files as a tar; the same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for target, source in sorted(recipe.files.items()):
            _add(tar, target.lstrip("/"), source.read_bytes(), 0o755 if os.access(source, os.X_OK) else 0o644)
    return buffer.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    return member


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    tar.addfile(member, io.BytesIO(data))


def _put(store: Path, document: dict[str, Any]) -> tuple[str, int]:
    data = json.dumps(document, sort_keys=True).encode()
    return f"sha256:{_blob(store, data)}", len(data)


def _blob(store: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    _write(store / "blobs" / "sha256" / digest, data)
    return digest


def _sweep(store: Path) -> None:
    """Remove what builders and senders that were killed left half-made; nobody works on one thing for a day."""
    for pattern in ("layer-*", "archive-*", "*.part", "blobs/sha256/*.part"):
        for path in store.glob(pattern):
            try:
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError:
                continue


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.rename(path)


def _run(argv: list[str], title: str, progress: Progress) -> None:
    words: list[str] = []
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=system.environment(),
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                words = [*words[-200:], line.strip()]
                if line.startswith(("I: ", "Collecting ", "Downloading ", "Installing ")):
                    progress(f"{title} ({line.strip()[:60].removeprefix('I: ')})", None)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        said = [word for word in words if word.startswith(("E: ", "ERROR", "error", "Err:"))] or words
        raise EnvironmentProblem(f"{title} failed: {system.last_words(chr(10).join(said))}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One builder at a time, over threads and processes."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
