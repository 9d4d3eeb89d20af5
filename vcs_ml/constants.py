"""The constants of a Python file, read from its syntax: nothing of it is run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote, size

MAX_SIZE: Final = 256_000  # bytes; the syntax tree has up to 600 for each

_COMPUTED: Final = object()  # stands for a value that only running the file could tell
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# What changes a list, dict or set where it is.
_CHANGING: Final = {
    *("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault"),
    *("sort", "update"),
}

_Path = tuple[str, ...]  # a name and attributes of it: of `a.b.c`, and of `a.b.c[0].d`, a, b, c


class _Class(NamedTuple):
    names: dict[str, Any]


def parse(raw: bytes, source: str, *, every: bool = False) -> dict[str, Any]:
    """Literals assigned at the top of a module, in its classes, and to `self` in an `__init__`: `name`, `Class.name`.

    What is no literal, or is bound or changed in any other way after it, is left out, or with `every` None. UserError
    for what is not Python, or larger than MAX_SIZE.
    """
    if len(raw) > MAX_SIZE:
        raise UserError(f"{quote(source)} is larger than {size(MAX_SIZE)}", hint="move its constants to a smaller one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes, in somebody's strings
            module = ast.parse(raw)
        found = _names(module.body)
        if b"global" in raw:  # few files have it
            found |= dict.fromkeys(_of_functions(module), _COMPUTED)
        return _shown(found, every)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{quote(source)}{line}: this is not Python: {why}", hint="python FILE shows more") from None
    except (RecursionError, MemoryError):
        raise UserError(f"{quote(source)} is nested too deeply", hint="make it flatter") from None


def _names(body: Iterable[ast.stmt]) -> dict[str, Any]:
    """What names stand for after these statements: a literal, a class, or _COMPUTED."""
    found: dict[str, Any] = {}
    for statement in body:
        _follow(statement, found)
        if isinstance(statement, ast.ClassDef):
            inner = _names(statement.body)
            for each in statement.body:
                if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                    for one in each.body:
                        _follow(one, inner, of_self=True)
            found[statement.name] = _Class(inner)
    return found


def _follow(statement: ast.stmt, found: dict[str, Any], *, of_self: bool = False) -> None:
    for path, value in _assigned(statement):
        if of_self and path[:1] == ("self",) and path[1:]:
            _put(found, path[1:], value)
        elif not of_self and path:
            _put(found, path, value)


def _put(found: dict[str, Any], path: _Path, value: Any) -> None:
    name, *inner = path
    known = found.get(name)
    if name == "*":  # of an import, it may be any
        found |= dict.fromkeys(found, _COMPUTED)
    elif not inner:
        found[name] = value
    elif isinstance(known, _Class):
        _put(known.names, tuple(inner), value)
    elif name in found:
        found[name] = _COMPUTED


def _assigned(statement: ast.stmt) -> Iterator[tuple[_Path, Any]]:
    """What a statement binds or changes, and to which value."""
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if len(targets) == 1 and isinstance(targets[0], ast.Name | ast.Attribute):
            try:
                value = ast.literal_eval(statement.value)
            except (ValueError, TypeError):  # a call or an expression, which only running could tell
                pass
            else:
                yield _path(targets[0]), value
                return
    yield from ((path, _COMPUTED) for node in _nodes([statement]) for path in _touched(node))


def _path(target: ast.expr) -> _Path:
    names: _Path = ()
    while isinstance(target, ast.Attribute | ast.Subscript):
        names = (target.attr, *names) if isinstance(target, ast.Attribute) else ()
        target = target.value
    return (target.id, *names) if isinstance(target, ast.Name) else ()


def _touched(node: ast.AST) -> Iterator[_Path]:
    """What one node of a syntax tree binds, deletes, or changes where it is."""
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        if not isinstance(node.ctx, ast.Load):
            yield _path(node)
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            yield _path(node.func)
    elif isinstance(node, ast.alias):
        yield ((node.asname or node.name).partition(".")[0],)
    elif isinstance(node, (*_SCOPES, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield (node.name,)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield (node.rest,)


def _nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes that belong to the same scope as these."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        own = "target" if isinstance(node, ast.comprehension) else ""
        if isinstance(node, (*_SCOPES, ast.Lambda)):
            own = "body"
        elif isinstance(node, ast.AnnAssign) and node.value is None:  # it only names a type
            own = "target"
        for name, field in ast.iter_fields(node):
            if name != own:
                pending += [
                    each for each in (field if isinstance(field, list) else [field]) if isinstance(each, ast.AST)
                ]


def _of_functions(module: ast.Module) -> Iterator[str]:
    """Names of the module that a function or class says are global, and binds or changes; it may be called any time."""
    for scope in ast.walk(module):
        if isinstance(scope, _SCOPES):
            nodes = list(_nodes(scope.body))
            known = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
            if known:
                yield from (path[0] for node in nodes for path in _touched(node) if known.intersection(path[:1]))


def _shown(names: dict[str, Any], every: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in names.items():
        if isinstance(value, _Class):
            inner = _shown(value.names, every)
            if inner or every:
                found[name] = inner or None
        elif value is not _COMPUTED:
            found[name] = value
        elif every:
            found[name] = None
    return found
