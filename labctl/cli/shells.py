"""Completion scripts, from a description of the commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from labctl.records import dataclass, field


@dataclass(frozen=True)
class Option:
    """An option. `kind` of its value: 'file', 'folder', 'types', 'runs', or '' for anything."""

    names: tuple[str, ...]
    about: str
    takes_value: bool
    choices: tuple[str, ...] = ()
    kind: str = ""


@dataclass
class Command:
    """A subcommand. `words` may stand in it; `kinds` are those of its positional
    arguments, in order."""

    name: str
    about: str
    options: list[Option] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


_BASH_VALUES = {
    "file": '_labctl_files "$cur"',
    "folder": 'COMPREPLY=($(compgen -d -- "$cur"))',
    "types": 'COMPREPLY=($(compgen -W "$types" -- "$cur"))',
    "runs": 'COMPREPLY=($(compgen -W "last $(ls runs 2>/dev/null)" -- "$cur") $(compgen -d -- "$cur"))',
    "": "COMPREPLY=()",
}
_BASH_HEAD = """\
# bash completion of labctl: eval "$(labctl completion bash)"
_labctl_files() {
    local IFS=$'\\n'
    case $1 in
        @*) COMPREPLY=($(compgen -P @ -f -- "${1#@}")) ;;
        *) COMPREPLY=($(compgen -f -- "$1")) ;;
    esac
}

_labctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= at=0 i
    local IFS=$' \\t\\n'
    COMPREPLY=()
    if [ "$cur" = = ]; then cur=
    elif [ "$prev" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            -*) ;;
            *) if [ -z "$command" ]; then command=${COMP_WORDS[i]}; else at=$((at + 1)); fi ;;
        esac
    done
"""


def bash(commands: Sequence[Command], types: Sequence[str]) -> str:
    """For bash 3.2 and later."""
    names = " ".join(command.name for command in commands)
    lines = [
        _BASH_HEAD,
        f"    local types={shlex.quote(' '.join(types))}",
        '    if [ -z "$command" ]; then',
        f'        COMPREPLY=($(compgen -W "{names} --help --version" -- "$cur"))',
        "        return",
        "    fi",
        '    case "$command $prev" in',
    ]
    for command in commands:
        for option in command.options:
            if option.takes_value:
                patterns = "|".join(f'"{command.name} {name}"' for name in option.names)
                lines.append(f"        {patterns}) {_bash_values(option.choices, option.kind)}; return ;;")
    lines += ["    esac", '    case "$command" in']
    for command in commands:
        flags = " ".join(name for option in command.options for name in option.names)
        lines += [
            f"        {command.name})",
            f'            if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "{flags}" -- "$cur"))',
        ]
        if command.words:
            words = " ".join(command.words)
            lines.append(f'            else COMPREPLY=($(compgen -W "{words}" -- "$cur"))')
        elif any(command.kinds):
            lines.append("            else case $at in")
            last = len(command.kinds) - 1
            for number, kind in enumerate(command.kinds):
                pattern = "*" if number == last else str(number)
                lines.append(f"                {pattern}) {_BASH_VALUES[kind]} ;;")
            lines.append("            esac")
        lines += ["            fi ;;"]
    lines += ["    esac", "}", "complete -o filenames -o bashdefault -F _labctl labctl", ""]
    return "\n".join(lines)


def _bash_values(choices: Sequence[str], kind: str) -> str:
    if choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(choices)}" -- "$cur"))'
    return _BASH_VALUES[kind]


_ZSH_VALUES = {
    "file": "_files",
    "folder": "_files -/",
    "types": "compadd -- $types",
    "runs": "compadd -- last runs/*(N/:t)",
    "": "",
}


def zsh(commands: Sequence[Command], types: Sequence[str]) -> str:
    """For zsh, to be read after compinit."""
    lines = [
        "#compdef labctl",
        '# zsh completion of labctl: eval "$(labctl completion zsh)" after compinit',
        "_labctl() {",
        "    local -a types commands",
        f"    types=({' '.join(map(shlex.quote, types))})",
        "    commands=(" + " ".join(_zsh_word(f"{c.name}:{c.about}") for c in commands) + ")",
        "    if (( CURRENT == 2 )); then _describe command commands; return; fi",
        "    local command=${words[2]}",
        "    shift words; (( CURRENT-- ))",
        "    case $command in",
    ]
    for command in commands:
        lines += [f"        {command.name})", "            _arguments -s \\"]
        specs = [_zsh_option(name, option) for option in command.options for name in option.names]
        if command.words:
            specs.append(_zsh_word(f"*:word:({' '.join(command.words)})"))
        else:
            for number, kind in enumerate(command.kinds, 1):
                place = "*" if number == len(command.kinds) else str(number)
                specs.append(_zsh_word(f"{place}:argument:{_zsh_values(kind)}"))
        lines += [f"                {spec} \\" for spec in specs]
        lines[-1] = lines[-1].removesuffix(" \\")
        lines.append("            ;;")
    lines += ["    esac", "}", "compdef _labctl labctl", ""]
    return "\n".join(lines)


def _zsh_option(name: str, option: Option) -> str:
    about = option.about.replace("[", "(").replace("]", ")").replace(":", ";")
    spec = f"*{name}[{about}]"
    if option.takes_value:
        values = f"({' '.join(option.choices)})" if option.choices else _zsh_values(option.kind)
        spec += f":value:{values}"
    return _zsh_word(spec)


def _zsh_values(kind: str) -> str:
    action = _ZSH_VALUES[kind]
    return f"{{{action}}}" if action.startswith("compadd") else action


def _zsh_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_FISH_VALUES = {
    "file": "-r -F",
    "folder": "-x -a '(__fish_complete_directories)'",
    "runs": "-x -a 'last (ls runs 2>/dev/null)'",
    "": "-x",
}


def fish(commands: Sequence[Command], types: Sequence[str]) -> str:
    """For fish 3 and later."""
    names = " ".join(command.name for command in commands)
    lines = ["# fish completion of labctl"]
    for command in commands:
        about = _fish_text(command.about)
        lines.append(
            f"complete -c labctl -f -n 'not __fish_seen_subcommand_from {names}' -a {command.name} -d {about}"
        )
    for command in commands:
        head = f"complete -c labctl -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            flags = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
            )
            value = _fish_values(option.choices, option.kind, types) if option.takes_value else ""
            lines.append(" ".join(filter(None, [head, flags, value, "-d", _fish_text(option.about)])))
        if command.words:
            lines.append(f"{head} -f -a {_fish_text(' '.join(command.words))}")
        elif "types" in command.kinds:
            lines.append(f"{head} -f -a {_fish_text(' '.join(types))}")
    return "\n".join([*lines, ""])


def _fish_values(choices: Sequence[str], kind: str, types: Sequence[str]) -> str:
    if kind == "types":
        choices = types
    return f"-x -a {_fish_text(' '.join(choices))}" if choices else _FISH_VALUES[kind]


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
