"""Makes modules of what came over the wire. Runs on the node, before everything else, in the stub's namespace: standard
library only, Python 3.8 syntax. Where the node's Python is the controller's they come as code, else as text."""

from __future__ import annotations

import marshal
import sys
import zlib

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Dict, List

_PACKAGE = "labctl.node"


class Later:
    """Finds and makes those modules that are made when they are first imported, as importlib has it."""

    def __init__(self, names: List[str], packed: bytes) -> None:
        self._names = ["%s.%s" % (_PACKAGE, name) for name in names]
        self._packed = packed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return type(sys.__spec__)(name, self) if name in self._names else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        pass

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        run(dict(marshal.loads(zlib.decompress(self._packed)))[name], module)


def run(code: Any, module: ModuleType) -> None:
    if isinstance(code, str):
        code = compile(code, "labctl/node/%s.py" % module.__name__.rpartition(".")[2], "exec")
    exec(code, module.__dict__)


def start(modules: Dict[str, Any]) -> None:
    """Make each of the modules, in this order, under the name it has on the controller, and run the agent."""
    kind = type(sys)
    for whole in ("labctl", _PACKAGE):
        sys.modules[whole] = kind(whole)
        sys.modules[whole].__path__ = []
    package: Any = sys.modules[_PACKAGE]
    for name, code in modules.items():
        whole = "%s.%s" % (_PACKAGE, name)
        module = sys.modules[whole] = kind(whole)
        setattr(package, name, module)
        run(code, module)
    package.agent.main(lambda names, packed: sys.meta_path.insert(0, Later(names, packed)))
