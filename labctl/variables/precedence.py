"""Ansible's order of variables, from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Layer = Mapping[str, Any]


def precedence_layers(
    *,
    role_defaults: Sequence[Layer] = (),
    inventory: Layer | None = None,
    facts: Layer | None = None,
    play_vars: Layer | None = None,
    vars_prompt: Layer | None = None,
    vars_files: Sequence[Layer] = (),
    role_vars: Sequence[Layer] = (),
    block_vars: Sequence[Layer] = (),
    task_vars: Layer | None = None,
    include_vars: Layer | None = None,
    registered: Layer | None = None,
    role_params: Sequence[Layer] = (),
    include_params: Sequence[Layer] = (),
    loop_vars: Layer | None = None,
    extra_vars: Layer | None = None,
    magic: Layer | None = None,
) -> list[Layer]:
    """The layers of a `Scope`, low to high. `inventory` is group_vars, host_vars and inventory variables
    merged in their own order; `registered` holds `set_fact` and `register`; sequences go from the outermost
    (or first) to the innermost (or last). `loop_vars` (`item`, `ansible_loop`) stand above everything a
    play can set and below extra and magic variables. Empty layers are left out."""
    order: list[Layer | None] = [
        *role_defaults,
        inventory,
        facts,
        play_vars,
        vars_prompt,
        *vars_files,
        *role_vars,
        *block_vars,
        task_vars,
        include_vars,
        registered,
        *role_params,
        *include_params,
        loop_vars,
        extra_vars,
        magic,
    ]
    return [layer for layer in order if layer]
