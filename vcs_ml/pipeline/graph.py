"""The graph of stages: who needs what another one makes, and the order in which they run."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.pipeline import outputs
from vcs_ml.pipeline.outputs import Outputs
from vcs_ml.pipeline.stage import Stage

_CYCLE_SHOWN: Final = 20


class Graph(NamedTuple):
    """The stages whose condition holds, by address, in the order of their files; `order` puts each after its needs.

    `off` are the addresses of the others, `empty` those of a `foreach` or `matrix` without stages. In `needs` and
    `needed_by` stages go by their number in `stages`. Numbers after these stand for directories in which several
    stages write and from which others read: so n writers and m readers of one are n + m edges.
    """

    stages: Mapping[str, Stage]
    order: tuple[str, ...]
    off: frozenset[str]
    outputs: Outputs
    numbers: Mapping[str, int]
    needs: Sequence[Sequence[int]]
    needed_by: Sequence[Sequence[int]]
    empty: Sequence[str] = ()


def build(stages: Iterable[Stage], pointers: Iterable[str] = (), empty: Sequence[str] = ()) -> Graph:
    """The graph of these stages; `pointers` are the paths of data that `vml add` tracks, `empty` as in Graph.

    A stage needs another one if a dep or params file of it is an output of the other, lies in one, or is a directory
    that one lies in. UserError for a cycle, and for outputs that overlap with each other, with tracked data, or with a
    vml.yaml. The cost grows with the length of all paths.
    """
    every = list(stages)
    on = [stage for stage in every if stage.condition]
    made = outputs.collect(on, pointers)
    needs = _needs(on, made)
    needed_by: list[list[int]] = [[] for _ in needs]
    for number, sources in enumerate(needs):
        for source in sources:
            needed_by[source].append(number)
    addresses = [stage.address for stage in on]
    return Graph(
        dict(zip(addresses, on, strict=True)),
        tuple(addresses[number] for number in _sorted(needs, addresses)),
        frozenset(stage.address for stage in every if not stage.condition),
        made,
        {address: number for number, address in enumerate(addresses)},
        needs,
        needed_by,
        empty,
    )


def waits(graph: Graph, addresses: Iterable[str]) -> dict[str, list[str]]:
    """Which of these stages each of them needs by itself. A frozen stage, which does not run, waits for none."""
    chosen = {graph.numbers[address]: address for address in addresses}
    inside: dict[int, list[str]] = {}  # of a directory, once for all who read it
    found = {}
    for number, address in chosen.items():
        upstream: list[str] = []
        for source in () if graph.stages[address].frozen else graph.needs[number]:
            if source < len(graph.stages):
                upstream += [chosen[source]] if source in chosen else []
            else:
                if source not in inside:
                    inside[source] = [chosen[each] for each in graph.needs[source] if each in chosen]
                upstream += inside[source]
        found[address] = upstream
    return found


def ancestors(graph: Graph, addresses: Iterable[str]) -> list[str]:
    """These stages and all that they need, in `order`. What a frozen stage needs is not followed: it does not run."""
    return _walk(graph, addresses, graph.needs, into_frozen=True)


def descendants(graph: Graph, addresses: Iterable[str]) -> list[str]:
    """These stages and all that need them, in `order`. A frozen stage, and so what is behind it, is not reached."""
    return _walk(graph, addresses, graph.needed_by, into_frozen=False)


def _walk(graph: Graph, addresses: Iterable[str], edges: Sequence[Sequence[int]], *, into_frozen: bool) -> list[str]:
    frozen = {graph.numbers[address] for address, stage in graph.stages.items() if stage.frozen}
    pending = [graph.numbers[address] for address in addresses]
    seen = set(pending)
    while pending:
        number = pending.pop()
        if into_frozen and number in frozen:
            continue
        for each in edges[number]:
            if each not in seen and (into_frozen or each not in frozen):
                seen.add(each)
                pending.append(each)
    return [address for address in graph.order if graph.numbers[address] in seen]


def _addresses(graph: Graph, numbers: Iterable[int]) -> list[str]:
    names = list(graph.stages)
    return [names[number] for number in sorted(numbers)]


def _needs(stages: Sequence[Stage], made: Outputs) -> list[Sequence[int]]:
    """What each stage needs, then what each directory holds."""
    read = [[path for path in _read(stage) if not path.startswith("/")] for stage in stages]
    inside = made.inside({path for each in read for path in each})
    directories: dict[str, int] = {}
    sources: dict[str, list[int]] = {}
    possible: dict[str, list[int]] = {}
    for path in {path: None for each in read for path in each}:
        found = made.makers(path)
        possible[path] = [] if found else made.possible_makers(path)
        held = inside.get(path, [])
        if len(held) > 1:
            found.append(directories.setdefault(path, len(stages) + len(directories)))
        else:
            found += held
        sources[path] = found
    needs: list[Sequence[int]] = []
    for number, paths in enumerate(read):
        known = {source for path in paths for source in sources[path]}
        # Of what is only possible, a cycle of one stage is not made.
        known.update(each for path in paths for each in possible[path] if each != number)
        needs.append(sorted(known))
    return [*needs, *(inside[path] for path in directories)]


def _read(stage: Stage) -> Iterator[str]:
    yield from stage.deps
    for params in stage.params:
        yield params.file


def _sorted(needs: Sequence[Sequence[int]], addresses: Sequence[str]) -> Iterator[int]:
    """The numbers of the stages, each after its needs, and of those that are ready the first in the files first."""
    sorter = TopologicalSorter(dict(enumerate(needs)))
    try:
        sorter.prepare()
    except CycleError as error:
        raise _cycle([number for number in error.args[1][1:] if number < len(addresses)], addresses) from None
    ready: list[int] = []
    while sorter:
        for number in sorter.get_ready():
            # A directory is only a way to stages: it is passed at once.
            heapq.heappush(ready, number if number < len(addresses) else -number)
        number = heapq.heappop(ready)
        if number >= 0:
            yield number
        sorter.done(abs(number))


def _cycle(numbers: list[int], addresses: Sequence[str]) -> UserError:
    start = numbers.index(min(numbers))
    names = [quote(addresses[number]) for number in numbers[start:] + numbers[: start + 1]]
    if len(names) > _CYCLE_SHOWN:
        names = [*names[: _CYCLE_SHOWN // 2], "…", *names[-_CYCLE_SHOWN // 2 :]]
    hint = "each makes what the next one needs: take one of these deps out"
    if len(names) == 2:
        hint = "it needs a file or directory that it makes itself: take it out of deps, or of outs"
    return UserError(f"the stages form a cycle: {' -> '.join(names)}", hint=hint)
