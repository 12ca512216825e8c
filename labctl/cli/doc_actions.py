"""What the engine does itself, for `labctl doc`: includes, imports and meta are no task types of their own."""

from __future__ import annotations

_ROLE = {
    "name": "The role; also `role`.",
    "role": "The same as `name`.",
    "tasks_from": "Another file of its tasks/ than main.",
    "vars_from": "Another file of its vars/ than main.",
    "defaults_from": "Another file of its defaults/ than main.",
    "handlers_from": "Another file of its handlers/ than main.",
    "allow_duplicates": "Run it although it has run in this play with the same parameters (default true).",
    "public": "Let the tasks after this one see its defaults and vars.",
    "rolespec_validate": "Check its argument specs (default true).",
}
_APPLY = "Keywords for every task that is included: tags, become, when …"

_META = (
    "Steer the run. The actions: flush_handlers, clear_facts, clear_host_errors, end_play, end_host, end_batch, "
    "end_role, noop, refresh_inventory, reset_connection."
)

# name: what it does, and its arguments
ACTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "include_tasks": (
        "Read a file of tasks during the run, and run them in this place. `when`, `tags` and `loop` are for the include itself.",
        {"file": "The file; also the text after the name.", "apply": _APPLY},
    ),
    "import_tasks": (
        "Read a file of tasks before the run. `when` and `tags` are handed on to each of them.",
        {"file": "The file; also the text after the name."},
    ),
    "include_role": ("Run a role in this place, chosen during the run.", {**_ROLE, "apply": _APPLY}),
    "import_role": (
        "Run a role in this place, read before the run. `when` and `tags` go to its tasks.",
        _ROLE,
    ),
    "include_vars": (
        "Read variables from YAML or JSON files during the run. Returns ansible_facts, ansible_included_var_files.",
        {
            "file": "The file; also the text after the name. Looked for in vars/ first.",
            "dir": "A folder: all its files, sorted by name.",
            "name": "Put them into this variable, as one mapping.",
            "depth": "How many folders deep `dir` is read (default 0: all).",
            "files_matching": "Only the files of `dir` whose names match this regular expression.",
            "ignore_files": "Names of files in `dir` to leave out: regular expressions.",
            "extensions": "Endings of the files read from `dir` (default json, yaml, yml).",
            "ignore_unknown_extensions": "Pass over other files in `dir` instead of failing.",
            "hash_behaviour": "'replace' or 'merge' mappings there are already.",
        },
    ),
    "meta": (
        _META,
        {"action": "Which; also the text after the name."},
    ),
}
