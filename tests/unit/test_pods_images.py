"""OCI archives, recipes, and the shim's protocol: bytes in, bytes out."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import tarfile
import threading

import pytest

from labctl.errors import PlaybookError
from labctl.node.functions import pods_shim
from labctl.pods import images
from labctl.pods.recipe import load_recipe

RECIPE = "name: demo:1\nsuite: bookworm\npackages: [python3]\nfiles: {app.py: /app/app.py}\ncmd: [python3, /app/app.py]\n"


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "app.py").write_text("print(1)\n")
    (tmp_path / "recipe.yml").write_text(RECIPE)
    return lambda: load_recipe(tmp_path / "recipe.yml")


@pytest.fixture
def built(recipe, tmp_path, monkeypatch):
    """The image of the recipe over a base of a few bytes; counts how often the base was built."""
    count = []

    def base(_recipe, target, _progress) -> None:
        count.append(1)
        with tarfile.open(target, "w") as tar:
            tar.addfile(tarfile.TarInfo("etc"))

    monkeypatch.setattr(images, "_base", base)
    return lambda: images.build(recipe(), tmp_path / "cache", lambda *_: None), count


def test_archive_is_an_oci_image(built, tmp_path) -> None:
    image = built[0]()
    images.archive(image, image.blobs, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        blobs = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    entry = json.loads(blobs["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "demo:1"
    assert entry["digest"] == image.digest

    def blob(descriptor: dict) -> bytes:
        data = blobs["blobs/" + descriptor["digest"].replace(":", "/")]
        assert hashlib.sha256(data).hexdigest() == descriptor["digest"].split(":")[1]
        assert len(data) == descriptor["size"]
        return data

    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert config["config"]["Cmd"] == ["python3", "/app/app.py"]
    assert b"print(1)" in blob(manifest["layers"][1])


def test_changed_program_makes_one_new_layer(built, recipe, tmp_path) -> None:
    build, count = built
    first = build()
    assert images.cached(recipe(), tmp_path / "cache") == first
    (tmp_path / "app.py").write_text("print(2)\n")
    assert images.cached(recipe(), tmp_path / "cache") is None
    second = build()
    assert len(count) == 1
    assert second.digest != first.digest
    shared = set(first.blobs) & set(second.blobs)
    assert len(shared) == 1
    images.archive(second, set(second.blobs) - shared, tmp_path / "thin.tar")
    with tarfile.open(tmp_path / "thin.tar") as tar:
        assert len([name for name in tar.getnames() if name.startswith("blobs/")]) == 3


def test_damaged_cache_is_built_again(built, recipe, tmp_path) -> None:
    build, count = built
    image = build()
    for digest in image.blobs:
        (image.store / "blobs/sha256" / digest.split(":")[1]).write_bytes(b"")
    assert images.cached(recipe(), tmp_path / "cache") is None
    again = build()
    assert again.digest == image.digest
    assert images.cached(recipe(), tmp_path / "cache") == again
    assert len(count) == 2


def test_what_killed_builders_left_is_removed_after_a_day(built, recipe, tmp_path) -> None:
    build, _ = built
    store = build().store
    blobs = store / "blobs/sha256"
    for folder in ("layer-old", "archive-old", "layer-new"):
        (store / folder).mkdir()
        (store / folder / "layer.tar").write_bytes(b"x")
    (blobs / "ab.1.part").write_bytes(b"x")
    for path in (store / "layer-old", store / "archive-old", blobs / "ab.1.part"):
        os.utime(path, (0, 0))
    for path in blobs.glob("*[0-9a-f]"):
        os.utime(path, (0, 0))
    (tmp_path / "app.py").write_text("print(2)\n")
    build()
    assert {path.name for path in store.iterdir() if path.is_dir()} == {"blobs", "layer-new"}
    assert not list(blobs.glob("*.part"))
    assert images.cached(recipe(), tmp_path / "cache") is not None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("suite:", "siute:", "no field 'siute'"),
        ("app.py: /app", "lost.py: /app", "there is no file"),
        ("/app/app.py}", "app/app.py}", "must be an absolute path"),
        ("packages: [python3]", "packages: python3", "is a list of strings"),
        ("name: demo:1\n", "", "needs a 'name'"),
    ],
)
def test_wrong_recipes(recipe, tmp_path, old, new, words) -> None:
    assert old in RECIPE
    (tmp_path / "recipe.yml").write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(PlaybookError, match=words) as caught:
        recipe()
    assert caught.value.mark is not None


# ------------------------------------------------------------ the shim's answers


class Shim:
    """Answers one ttrpc call after the other with the given responses."""

    def __init__(self, path, *responses: bytes) -> None:
        self.requests: list[dict] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=self.serve, args=(listener, responses), daemon=True).start()

    def serve(self, listener, responses) -> None:
        for response in responses:
            link, _ = listener.accept()
            with link:
                length = struct.unpack(">IIBB", link.recv(10, socket.MSG_WAITALL))[0]
                self.requests.append(pods_shim.fields(link.recv(length, socket.MSG_WAITALL)))
                link.sendall(struct.pack(">IIBB", len(response), 1, 2, 0) + response)
        listener.close()


@pytest.fixture
def shim(tmp_path, monkeypatch):
    monkeypatch.setattr(pods_shim, "STATE", str(tmp_path))
    folder = tmp_path / "labctl" / "p.c"
    folder.mkdir(parents=True)
    (folder / "address").write_text(f"unix://{tmp_path}/s\n")
    return lambda *responses: Shim(tmp_path / "s", *responses)


def state_response(*pairs: tuple[int, int | bytes]) -> bytes:
    body = b""
    for number, value in pairs:
        if isinstance(value, bytes):
            body += pods_shim._bytes(number, value)
        else:
            body += pods_shim._varint(number << 3) + pods_shim._varint(value)
    return pods_shim._bytes(2, body)


def test_shim_tells_exit_code_and_time(shim) -> None:
    moment = (
        pods_shim._varint(1 << 3)
        + pods_shim._varint(1_700_000_000)
        + pods_shim._varint(2 << 3)
        + pods_shim._varint(500_000_000)
    )
    server = shim(state_response((3, 4711), (4, 3), (9, 137), (10, moment)))
    assert pods_shim.state("labctl", "p.c") == {
        "status": "stopped",
        "pid": 4711,
        "exit_code": 137,
        "finished_at": 1_700_000_000.5,
    }
    assert server.requests[0][1] == b"containerd.task.v2.Task"
    assert server.requests[0][2] == b"State"
    assert pods_shim.fields(server.requests[0][3]) == {1: b"p.c"}


def test_shim_of_containerd_2_is_asked_by_its_own_service(shim) -> None:
    unimplemented = pods_shim._bytes(1, pods_shim._varint(1 << 3) + pods_shim._varint(12))
    server = shim(unimplemented, state_response((3, 7), (4, 2)))
    assert pods_shim.state("labctl", "p.c")["status"] == "running"
    assert server.requests[1][1] == b"containerd.task.v3.Task"


def test_no_shim(shim) -> None:
    assert pods_shim.state("labctl", "other") is None
    with pytest.raises(pods_shim.ShimGone):
        pods_shim.state("labctl", "p.c")
