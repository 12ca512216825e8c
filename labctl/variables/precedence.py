"""Ansible's order of variables, from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack, cast

Layer = Mapping[str, Any]


class Parts(TypedDict, total=False):
    """What a task's variables are made of. `inventory` is group_vars, host_vars and inventory variables
    merged in their own order; `registered` holds `set_fact` and `register`; sequences go from the outermost
    (or first) to the innermost (or last). `loop_vars` (`item`, `ansible_loop`) stand above everything a
    play can set and below extra and magic variables."""

    role_defaults: Sequence[Layer]
    inventory: Layer | None
    facts: Layer | None
    play_vars: Layer | None
    vars_prompt: Layer | None
    vars_files: Sequence[Layer]
    role_vars: Sequence[Layer]
    block_vars: Sequence[Layer]
    task_vars: Layer | None
    include_vars: Layer | None
    registered: Layer | None
    role_params: Sequence[Layer]
    include_params: Sequence[Layer]
    loop_vars: Layer | None
    extra_vars: Layer | None
    magic: Layer | None


# Low to high, each with what it is in words.
ORDER = (
    ("role_defaults", "role default"),
    ("inventory", "inventory"),
    ("facts", "fact"),
    ("play_vars", "vars of the play"),
    ("vars_prompt", "vars_prompt"),
    ("vars_files", "vars_files"),
    ("role_vars", "vars of the role"),
    ("block_vars", "vars of the block"),
    ("task_vars", "vars of the task"),
    ("include_vars", "include_vars"),
    ("registered", "set_fact or register"),
    ("role_params", "parameter of the role"),
    ("include_params", "vars of the include"),
    ("loop_vars", "loop variable"),
    ("extra_vars", "-e"),
    ("magic", "magic variable"),
)


class Plan:
    """The layers of a `Scope`, low to high, empty ones left out: those that are the same for all hosts, with places
    for those that each host has its own."""

    def __init__(self, own: frozenset[str], **parts: Unpack[Parts]) -> None:
        """`own`: the parts that are a host's own, each a layer or a sequence of layers."""
        self._places: list[tuple[str, Layer]] = []
        for name, _rank in ORDER:
            self._places += [("", layer) for layer in _layers_of(name, parts)]
            if name in own:
                self._places.append((name, {}))

    def layers(self, own: Mapping[str, Layer | Sequence[Layer] | None]) -> list[Layer]:
        """A host's own part stands above the common one of its rank."""
        found: list[Layer] = []
        for name, layer in self._places:
            if not name:
                found.append(layer)
            elif part := own[name]:
                if type(part) is list or type(part) is tuple:
                    found += part
                else:
                    found.append(cast("Layer", part))
        return found


def ranked_layers(**parts: Unpack[Parts]) -> list[tuple[str, Layer]]:
    """The layers low to high, each with its rank in words. Empty layers are left out."""
    return [(rank, layer) for name, rank in ORDER for layer in _layers_of(name, parts)]


def _layers_of(name: str, parts: Parts) -> list[Layer]:
    part = cast("Mapping[str, Layer | Sequence[Layer] | None]", parts).get(name) or ()
    layers = part if isinstance(part, list | tuple) else [part]
    return [cast("Layer", layer) for layer in layers if layer]
