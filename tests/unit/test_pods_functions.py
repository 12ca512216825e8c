"""Node function modules of pods find the modules beside them on the node."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from labctl.node.bundle import function_source

MODULES = ("pods", "pods_criu", "pods_migration", "images")


@pytest.mark.parametrize("module", MODULES)
def test_module_travels_with_what_it_imports(module: str, tmp_path) -> None:
    """Run as the agent runs it: from source, in an interpreter that finds no labctl."""
    source = tmp_path / "travels.py"
    source.write_bytes(function_source(module)[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "exec(compile(open('travels.py').read(), 'x', 'exec'))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_python_3_8_can_read_it(module: str) -> None:
    ast.parse(function_source(module)[1], feature_version=(3, 8))
