"""How a back-end spec such as `builtin` or `open_clip:ViT-B-32` becomes an object.

A spec is `NAME` or `NAME:ARGUMENT`. Names are explicit, never guessed; the module behind a name is imported only when
the name is asked for, so that a listing or `--help` costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from fdvs.errors import UnknownBackendError, UsageError


def build(role: str, spec: str, plain: Mapping[str, str], with_argument: Mapping[str, str]) -> object:
    """Build the back end that `spec` names.

    Args:
        role: what the back end is for, in the words of an error message ("text encoder").
        plain: name → `module:Class` of back ends that take no argument.
        with_argument: name → `module:Class` of back ends built from what follows the first colon.

    Raises:
        UnknownBackendError: the name is in neither table.
        UsageError: an argument is missing, or given where none is taken.
    """
    name, _, argument = spec.partition(":")
    known = [*plain, *(f"{other}:…" for other in with_argument)]
    target = plain.get(name) or with_argument.get(name)
    if target is None:
        raise UnknownBackendError(role, name, known)
    if name in plain:
        if argument:
            raise UsageError(f"the {role} {name!r} takes no argument, got {spec!r}")
        return _class(target)()
    if not argument:
        raise UsageError(f"the {role} {name!r} needs a model: {name}:MODEL")
    return _class(target)(argument)


def _class(target: str) -> type:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, type)
    return found
