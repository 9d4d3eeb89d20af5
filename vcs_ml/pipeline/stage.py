"""A stage: what it runs, what it needs and what it makes, with everything resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from vcs_ml.errors import UserError
from vcs_ml.output import quote
from vcs_ml.workspace import lockfile

FILE: Final = lockfile.STAGES
PARAMS: Final = "params.yaml"

OutKind = Literal["out", "metric", "plot"]


class Out(NamedTuple):
    """Something that a stage makes. `plot` holds x, y, template and the like, for plots."""

    path: str
    kind: OutKind = "out"
    cache: bool = True
    persist: bool = False
    push: bool = True
    remote: str | None = None
    is_glob: bool = False
    desc: str | None = None
    type: str | None = None
    labels: tuple[str, ...] = ()
    meta: Any = None
    plot: Mapping[str, Any] | None = None


class ParamSet(NamedTuple):
    """Keys of a params file; None stands for the whole file."""

    file: str
    keys: tuple[str, ...] | None


class Resources(NamedTuple):
    """What a stage takes while it runs; `mem` is in bytes."""

    cpu: float = 1.0
    gpu: float = 0.0
    mem: int = 0


class Stage(NamedTuple):
    """One stage of a pipeline.

    Paths go from the project's top ("" is the top itself) and are separated by `/`; a dep outside of the project is
    absolute. Each of `cmds` is one script, whatever its number of lines. `timeout` is in seconds. `condition` is what
    `if` came to: a stage without it does not exist for the graph.
    """

    file: str
    name: str
    cmds: tuple[str, ...]
    wdir: str = ""
    deps: tuple[str, ...] = ()
    params: tuple[ParamSet, ...] = ()
    outs: tuple[Out, ...] = ()
    env: tuple[str, ...] = ()
    resources: Resources = Resources()
    mutex: tuple[str, ...] = ()
    retries: int = 0
    timeout: float | None = None
    frozen: bool = False
    always_changed: bool = False
    condition: bool = True
    shell: Literal["sh", "bash"] = "sh"
    desc: str | None = None
    meta: Any = None
    line: int = 1

    @property
    def address(self) -> str:
        """How a user names it: `train`, or `sub/vml.yaml:train` where it is not in the topmost file."""
        return address(self.file, self.name)

    @property
    def group(self) -> str:
        """The address of the `foreach` or `matrix` that it is an instance of; its own if it is of none."""
        return address(self.file, self.name.partition("@")[0])


class Declared(NamedTuple):
    """What one vml.yaml says beside stages; paths as in `Stage`, the rest as it was read. `faults` are gates that are
    wrong, where these do not keep the file from being read.
    """

    file: str
    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    artifacts: Mapping[str, Mapping[str, Any]] = {}
    gates: Mapping[str, Mapping[str, Any]] = {}
    faults: Mapping[str, UserError] = {}


def place(file: str, line: int) -> str:
    """Where something is written, for messages; the line is 0 for a stage that is not written yet."""
    return f"{quote(file)}:{line}" if line else "the new stage"


def address(file: str, name: str) -> str:
    """How a user names the stage or group `name` of a vml.yaml."""
    return name if file == FILE else f"{file}:{name}"
