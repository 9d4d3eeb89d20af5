"""The constants of a Python file, read from its syntax: nothing of it is run."""

from __future__ import annotations

import ast
import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Final

from vcs_ml.errors import UserError
from vcs_ml.output import quote, size

MAX_SIZE: Final = 256_000  # bytes; the syntax tree has up to 600 for each


def parse(raw: bytes, source: str, *, every: bool = False) -> dict[str, Any]:
    """Literals assigned at the top of a module, in its classes, and to `self` in an `__init__`: `name`, `Class.name`.

    What is no literal is left out, or with `every` None. UserError for what is not Python, or larger than MAX_SIZE.
    """
    if len(raw) > MAX_SIZE:
        raise UserError(f"{quote(source)} is larger than {size(MAX_SIZE)}", hint="move its constants to a smaller one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes, in somebody's strings
            module = ast.parse(raw)
        return _constants(module.body, every)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{quote(source)}{line}: this is not Python: {why}", hint="python FILE shows more") from None
    except (RecursionError, MemoryError):
        raise UserError(f"{quote(source)} is nested too deeply", hint="make it flatter") from None


def _constants(body: list[ast.stmt], every: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            inner = _constants(statement.body, every)
            for each in statement.body:
                if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                    inner |= _assigned(each.body, every, of_self=True)
            if inner:
                found[statement.name] = inner
        else:
            found |= _assigned([statement], every, of_self=False)
    return found


def _assigned(body: list[ast.stmt], every: bool, *, of_self: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for target, value in _assignments(body):
        if isinstance(target, ast.Attribute):
            is_self = isinstance(target.value, ast.Name) and target.value.id == "self"
            name = target.attr if of_self and is_self else None
        else:
            name = target.id if isinstance(target, ast.Name) and not of_self else None
        if name is not None:
            if every:
                found[name] = None
            with contextlib.suppress(ValueError, TypeError):  # a call or an expression, which only running could tell
                found[name] = ast.literal_eval(value)
    return found


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[ast.expr, ast.expr]]:
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            yield statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield statement.target, statement.value
