"""What a stage reads and what is not there: what is wrong, and the way out."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vcs_ml import values
from vcs_ml.errors import UserError
from vcs_ml.output import quote, word
from vcs_ml.pipeline.graph import Graph
from vcs_ml.pipeline.signature import Inputs, Reader
from vcs_ml.pipeline.stage import Stage, place
from vcs_ml.workspace import sources

_BESIDE = 1_000  # names in a directory that are compared with one that is missing


class Fault(NamedTuple):
    """Something that a stage lacks, in words, and what to do about it."""

    text: str
    hint: str


def refuse(stage: Stage, now: Inputs, reader: Reader, graph: Graph) -> None:
    """UserError for a dep or param that is not there, with the nearest name."""
    absent = [path for path, item in now.deps.items() if item is None]
    for fault in faults(stage, absent, now.lacking, reader, graph):
        raise UserError(f"stage {stage.address}: {fault.text}", hint=fault.hint)


def faults(
    stage: Stage, deps: Iterable[str], params: Iterable[tuple[str, str | None]], reader: Reader, graph: Graph
) -> Iterator[Fault]:
    """What to say of these deps and params (by file, a key or None for the whole file), none of which are there."""
    for path in deps:
        yield _absent(stage, path, "dep", reader, graph)
    for file, key in params:
        if not os.path.exists(reader.root / file):
            yield _absent(stage, file, "params file", reader, graph)
        elif key is None:
            yield Fault(f"{quote(file)} is empty", "params are a mapping of names to values")
        elif values.is_computed(reader.root / file, key):
            yield Fault(f"{key} in {quote(file)} is no constant", f"{quote(file)} is not run: write its value out")
        else:
            near = values.nearest(reader.values_of(file), key)
            hint = f"did you mean {near}?" if near else _named(stage, "params")
            yield Fault(f"{quote(file)} has no {key}", hint)


def _absent(stage: Stage, path: str, what: str, reader: Reader, graph: Graph) -> Fault:
    key, text = "deps" if what == "dep" else "params", f"the {what} {_missing(path, reader.root)}"
    above = sources.owner(path, reader.gauge.pointers)
    is_stored = above is not None and not reader.gauge.store.missing(above[0].oid)
    maker = None if is_stored else _frozen_maker(path, graph)
    if maker is None:
        return Fault(text, _hint(stage, path, key, reader, graph.outputs.paths))
    name = quote(maker.address)
    also = f"; or vml pull {word(path)}, if a remote has it" if above is not None else ""
    return Fault(f"{text}, and the stage {name}, which makes it, is frozen", f"vml unfreeze {name}{also}")


def _frozen_maker(path: str, graph: Graph) -> Stage | None:
    """A frozen stage that would make what is at a path, or something in it."""
    stages = list(graph.stages.values())
    makers = (*graph.outputs.makers(path), *graph.outputs.inside({path}).get(path, ()))
    return next((stages[each] for each in makers if stages[each].frozen), None)


def refuse_wdir(stage: Stage, reader: Reader, made: Iterable[str]) -> None:
    """UserError where the directory that a stage runs in is not there, and no other stage makes something of it."""
    wdir = stage.wdir
    if not wdir or os.path.lexists(reader.root / wdir):
        return
    ours = {out.path for out in stage.outs}
    others = [path for path in made if path not in ours]
    if any(f"{path}/".startswith(f"{wdir}/") or f"{wdir}/".startswith(f"{path}/") for path in others):
        return
    near = _nearest(wdir, reader.root, others)
    raise UserError(
        f"stage {stage.address}: its wdir {quote(wdir)} does not exist",
        hint=f"did you mean {quote(near)}?" if near else f"mkdir -p {shlex.quote(str(reader.root / wdir))}",
    )


def refuse_literal(root: Path, stage: Stage, unmatched: Iterable[str]) -> None:
    """UserError where the text of a pattern of this stage that nothing matches is the name of a file."""
    for pattern in unmatched:
        if os.path.lexists(root / pattern):
            written = quote(os.path.relpath(glob.escape(pattern), stage.wdir or "."))
            raise UserError(
                f"stage {stage.address}: its output {quote(pattern)} is a pattern, and not the file of this name",
                hint=f"write {written} in {place(stage.file, stage.line)}: [[] is a bracket, [*] a star",
            )


def _missing(path: str, root: Path) -> str:
    link = _broken_link(path, root)
    if link is None:
        return f"{quote(path)} does not exist"
    inside = "" if link == path else f" does not exist: {quote(link)}"
    return f"{quote(path)}{inside} is a link to {quote(os.readlink(root / link))}, and nothing is there"


def _broken_link(path: str, root: Path) -> str | None:
    """The link on the way to `path` that leads nowhere, if that is why nothing is there."""
    names = path.split("/")
    for depth in range(1, len(names) + 1):
        place = "/".join(names[:depth])
        if os.path.islink(root / place) and not os.path.exists(root / place):
            return place
    return None


def _hint(stage: Stage, path: str, key: str, reader: Reader, made: Iterable[str]) -> str:
    target = path
    if (link := _broken_link(path, reader.root)) is not None:
        target = os.path.realpath(reader.root / link).removeprefix(f"{reader.root}/")
    if sources.owner(target, {each: each for each in made}):
        return f"vml repro {word(target)} makes it"
    above = sources.owner(target, reader.gauge.pointers)
    if above is not None and not os.path.lexists(reader.root / above[0].path):
        here = reader.gauge.store.missing(above[0].oid)
        place = f"-r {above[0].remote} " if here and above[0].remote else ""
        return f"vml {'pull' if here else 'checkout'} {place}{word(target)} brings it"
    if link is not None:
        return f"make what {quote(link)} leads to, or let it lead elsewhere: ln -sfn TARGET {quote(link)}"
    near = _nearest(path, reader.root, made)
    return f"did you mean {quote(near)}?" if near else _named(stage, key)


def _named(stage: Stage, key: str) -> str:
    return f"{place(stage.file, stage.line)} names it under {key}"


def _nearest(path: str, root: Path, made: Iterable[str]) -> str | None:
    """What is, or will be, there under a name like this: in the same directory, or under the same name elsewhere."""
    folder, _, name = path.rpartition("/")
    try:
        beside = sorted(os.listdir(root / folder))[:_BESIDE]
    except OSError:
        beside = []
    beside += [each.rpartition("/")[2] for each in made if each.rpartition("/")[0] == folder]
    # By their stems: of paths that share long directories or a suffix, all would look alike.
    stem, suffix = os.path.splitext(name)
    beside.sort(key=lambda each: os.path.splitext(each)[1] != suffix)
    stems = {os.path.splitext(each)[0]: each for each in reversed(beside)}
    if near := values.suggestion(stem, stems):
        return f"{folder}/{stems[near]}" if folder else stems[near]
    same = [each for each in made if each.rpartition("/")[2] == name]
    return same[0] if len(same) == 1 else None
