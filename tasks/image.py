"""Build a container image from a recipe and load it on the node, without a registry.

The image is built once on the controller (Debian base, Python packages, files: a layer each) and cached by the
hash of all that goes into it. A node gets only the layers it lacks; one that has the image costs one round
trip.

    - image: {recipe: ../workloads/training-pod/recipe.yml}
      register: image         # name, digest, size, sent (bytes)
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.paths import cache_dir
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    recipe: str = arg(doc="the recipe file: name, suite, packages, pip, files, env, cmd", free_form=True)
    state: Literal["present", "absent"] = arg("present", doc="whether the node is to have the image")


def run(args: Arguments, ctx: Context) -> Steps:
    from labctl.pods import images
    from labctl.pods.recipe import load_recipe

    recipe = load_recipe(ctx.find("files", args.recipe))
    if args.state == "absent":
        return (yield from _absent(recipe.name, ctx))
    image = images.cached(recipe, cache_dir())
    if image is None:
        image = yield Change(
            f"image {recipe.name}, built on this machine",
            lambda: images.build(recipe, cache_dir(), ctx.progress),
            before="absent",
            after=f"Debian {recipe.suite} with {', '.join([*recipe.packages, *recipe.pip])}",
        )
    if image is None:
        yield Change(f"image {recipe.name} on the node", lambda: None, unknown="the image is not built yet")
        return {"name": recipe.name, "digest": None, "size": None, "sent": None}
    built: images.Image = image
    here = ctx.node.call("images", "missing", name=built.name, digest=built.digest, blobs=list(built.blobs))
    values = {"name": built.name, "digest": built.digest, "size": built.size, "sent": 0}
    if here["present"]:
        return values
    sent = sum(built.blobs[digest] for digest in here["missing"])
    yield Change(
        f"image {built.name} on the node",
        lambda: _load(built, here["missing"], sent, ctx),
        before="absent",
        after=f"{built.digest} ({sent / 2**20:.0f} MiB to send)",
    )
    return {**values, "sent": sent}


def _load(image: Any, missing: list[str], sent: int, ctx: Context) -> None:
    from labctl.pods import images

    there = f"/var/tmp/labctl-{image.digest.removeprefix('sha256:')[:16]}.tar"  # noqa: S108 - root's, and removed
    with tempfile.TemporaryDirectory(prefix="archive-", dir=image.store) as folder:
        archive = Path(folder) / "image.tar"
        images.archive(image, missing, archive)
        ctx.progress(f"sending {image.name} to {ctx.host}: {sent / 2**20:.0f} MiB", None)
        ctx.node.put(archive, there, mode=0o600)
    ctx.progress(f"unpacking {image.name} on {ctx.host}", None)
    ctx.node.call("images", "load", path=there, name=image.name, digest=image.digest)


def _absent(name: str, ctx: Context) -> Steps:
    found = ctx.node.call("images", "missing", name=name, digest="", blobs=[])
    if not found["named"]:
        return {"name": name}
    removed = yield Change(
        f"image {name}",
        lambda: ctx.node.call("images", "remove", name=name),
        before="present",
        after="absent",
    )
    if removed is False:
        raise TaskFailed(f"image {name} went away by itself while it was to be removed")
    return {"name": name}
