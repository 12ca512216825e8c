"""The exceptions that plugins raise and catch by Ansible's names."""

from __future__ import annotations

from typing import Any


class AnsibleError(Exception):
    def __init__(self, message: str = "", obj: Any = None, orig_exc: Any = None, **_: Any) -> None:
        super().__init__(message)
        self.message = str(message)
        self.obj = obj
        self.orig_exc = orig_exc


class AnsibleRuntimeError(AnsibleError):
    pass


class AnsibleTemplateError(AnsibleRuntimeError):
    pass


class AnsiblePluginError(AnsibleError):
    pass


class AnsibleTypeError(AnsibleRuntimeError, TypeError):
    pass


class AnsibleFilterError(AnsibleTemplateError):
    pass


class AnsibleFilterTypeError(AnsibleFilterError, TypeError):
    pass


class AnsibleUndefinedVariable(AnsibleTemplateError):
    pass


class AnsibleFileNotFound(AnsibleRuntimeError):
    def __init__(self, message: str = "", file_name: Any = None, paths: Any = None, **kwargs: Any) -> None:
        super().__init__(message or f"Could not find or access '{file_name}'", **kwargs)
        self.file_name = file_name
        self.paths = paths


def _named(name: str, base: type[Exception]) -> type[Exception]:
    return type(name, (base,), {"__module__": __name__})


ERRORS: dict[str, type[Exception]] = {
    found.__name__: found
    for found in (
        AnsibleError,
        AnsibleRuntimeError,
        AnsibleTemplateError,
        AnsiblePluginError,
        AnsibleTypeError,
        AnsibleFilterError,
        AnsibleFilterTypeError,
        AnsibleUndefinedVariable,
        AnsibleFileNotFound,
        _named("AnsibleTemplatePluginError", AnsibleTemplateError),
        _named("AnsibleLookupError", AnsibleTemplateError),
        _named("AnsibleOptionsError", AnsibleError),
        _named("AnsibleRequiredOptionError", AnsibleError),
        _named("AnsibleParserError", AnsibleError),
        _named("AnsibleInternalError", AnsibleError),
        _named("AnsibleAssertionError", AnsibleError),
        _named("AnsibleConnectionFailure", AnsibleRuntimeError),
        _named("AnsibleActionFail", AnsibleRuntimeError),
        _named("AnsiblePluginNotFound", AnsiblePluginError),
    )
}
