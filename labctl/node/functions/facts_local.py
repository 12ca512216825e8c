"""Facts an administrator keeps on a node himself: the `*.fact` files of a folder, run or read."""

from __future__ import annotations

import os

from labctl.node.functions.facts_text import entries

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from labctl.node.functions.facts_text import Facts


def local(folder: str, timeout: float, warnings: List[str]) -> Facts:
    """`local`: by the file's name. An executable prints JSON or INI, others hold it."""
    found: Facts = {}
    for entry in sorted(entries(folder)):
        if not entry.endswith(".fact"):
            continue
        name, path = entry.replace(".fact", ""), "%s/%s" % (folder, entry)
        found[name], wrong = _one(path, timeout)
        if wrong:
            warnings.append(wrong)
    return {"local": found}


def _one(path: str, timeout: float) -> Tuple[Any, str]:
    import subprocess

    try:
        executable = os.stat(path).st_mode & 0o100
    except OSError as error:
        wrong = "Could not stat fact (%s): %s" % (path, error)
        return wrong, wrong
    try:
        if executable:
            said = subprocess.run(
                [path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout,
                check=False,
            )
            raw = said.stdout
            if said.returncode:
                wrong = "Failure executing fact script (%s), rc: %s, err: %s" % (
                    path,
                    said.returncode,
                    said.stderr.decode("utf-8", "replace"),
                )
                return wrong, wrong
        else:
            with open(path, "rb") as stream:
                raw = stream.read()
    except subprocess.TimeoutExpired:
        wrong = "Failure executing fact script (%s): no answer within %g seconds" % (path, timeout)
        return wrong, wrong
    except OSError as error:
        wrong = "Could not execute fact script (%s): %s" % (path, error)
        return wrong, wrong
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        wrong = 'error loading fact - output of running "%s" was not utf-8' % path
        return wrong, wrong
    return _parsed(path, text)


def _parsed(path: str, text: str) -> Tuple[Any, str]:
    import configparser
    import json

    try:
        return json.loads(text), ""
    except ValueError:
        pass
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        wrong = "error loading facts as JSON or ini - please check content: %s" % path
        return wrong, wrong
    try:
        sections: Dict[str, Dict[str, str]] = {
            name: {option: parser.get(name, option) for option in parser.options(name)}
            for name in parser.sections()
        }
    except configparser.Error as error:  # a % that is no reference
        wrong = "error loading facts as ini - please check content: %s (%s)" % (path, error)
        return wrong, wrong
    return sections, ""
