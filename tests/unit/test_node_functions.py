"""Each module of node functions must load alone, as an agent loads it: with what it imports, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from labctl.node import bundle
from labctl.node.bundle import function_source

MODULES = sorted(
    path.stem for path in Path(bundle.__file__).with_name("functions").glob("*.py") if path.stem != "__init__"
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_loads_on_a_node(module: str, tmp_path: Path) -> None:
    _, source = function_source(module)
    program = tmp_path / "loaded.py"
    program.write_bytes(source)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(program)], cwd=tmp_path, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
