"""Every key of vml.yaml: the one table that the loader, the JSON Schema for editors and the reference are held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from vcs_ml.pipeline.shape import (
    Anything,
    Either,
    Flag,
    Forms,
    Key,
    Keys,
    ListOf,
    MapOf,
    Null,
    Number,
    Text,
    check,
    json_schema,
)

# The shipped copy for editors: json_text() with a name.
JSON_FILE: Final = Path(__file__).with_name("vml.schema.json")

STAGE_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.@/-]*"
_PATH: Final = Text("a path")
_TEXTS: Final = ListOf(Text())
_FLAG: Final = Flag()
_TEMPLATE: Final = Text("a template", r"[\s\S]*\$\{[\s\S]*")

_ABOUT: Final = {
    "desc": Key(Text(), "what it is, for people"),
    "type": Key(Text(), "what kind of thing it is, such as model or dataset"),
    "labels": Key(_TEXTS, "words to find it by"),
    "meta": Key(Anything(), "anything you like: vml keeps it and reads none of it"),
}
_OUT: Final = {
    "cache": Key(_FLAG, "false: vml does not store it, and Git may (default: true)"),
    "persist": Key(_FLAG, "true: it is there when the command runs again, to be continued (default: false)"),
    "push": Key(_FLAG, "false: vml push leaves it out (default: true)"),
    "remote": Key(Text("the name of a remote"), "the only remote that it is pushed to and fetched from"),
    **_ABOUT,
}
_AXES: Final = {
    "template": Key(Text(), "the name of the template that draws it"),
    "x_label": Key(Text(), "what stands beside the x axis"),
    "y_label": Key(Text(), "what stands beside the y axis"),
    "title": Key(Text(), "what stands above it"),
    "header": Key(_FLAG, "false: the first line of a CSV or TSV file is data (default: true)"),
}
_STAGE_PLOT: Final = _AXES | {
    "x": Key(Text("a field"), "the field on the x axis"),
    "y": Key(Text("a field"), "the field on the y axis"),
}
_FIELD: Final = Text("a field")
_PLOT: Final = _AXES | {
    "x": Key(Either((_FIELD, MapOf(_FIELD))), "the field on the x axis, or file: field"),
    "y": Key(
        Either((_FIELD, ListOf(_FIELD), MapOf(Either((_FIELD, ListOf(_FIELD)))))),
        "the fields on the y axis, or file: fields",
    ),
}
_RESOURCES: Final = {
    "cpu": Key(Number("a number of cores", least=0, above=True), "cores (default: 1)"),
    "gpu": Key(Number("a number of GPUs"), "GPUs (default: 0)"),
    "mem": Key(
        Either((Number("a number of bytes", whole=True), Text("a size such as 4G", r"[0-9]{1,15} *([kKMGT]i?)?[bB]?"))),
        "memory: 4G, 512MiB, or bytes (default: 0)",
    ),
}
_LIMIT: Final = Either(
    (Number("a number"), Text("a percentage such as 2%", r"[0-9]{1,9}(\.[0-9]{1,9})? *%")),
)
_LEVEL: Final = Number("a number", least=-1e15)
_GATE: Final = {
    "better": Key(
        Text("higher or lower", choices=("higher", "lower")),
        "which way it gets better; where no other key stands here, it must not get worse",
    ),
    "min": Key(_LEVEL, "the least that it may be"),
    "max": Key(_LEVEL, "the most that it may be"),
    "max_drop": Key(_LIMIT, "how far it may fall below what it was: a number, or a percentage of that"),
    "max_rise": Key(_LIMIT, "how far it may rise above what it was: a number, or a percentage of that"),
    "equals": Key(Either((_FLAG, _LEVEL, Text())), "what it must be"),
    "required": Key(_FLAG, "false: it may be missing (default: true)"),
}


# Keys of DVC's files, of today's and of older ones, that have another place here or none.
_RECORDED: Final = dict.fromkeys(
    ("etag", "files", "hash", "isexec", "md5", "nfiles", "size", "version_id"),
    "remove it: what a stage has read and made is in vml.lock, which vml writes",
)
_OUT_HINTS: Final = _RECORDED | {
    "checkpoint": "persist: true leaves what is there for the command to go on with",
    "live": "remove it: what a command logs is an out, a metric or a plot like any other",
    "path": "the path itself is the key: PATH: {cache: false}",
    "url": "remove it: a stage can download it, as an out of its own",
}
_STAGE_HINTS: Final = (
    _RECORDED
    | dict.fromkeys(("cache", "persist", "push", "remote"), "it is a flag of an out: outs: [PATH: {persist: true}]")
    | dict.fromkeys(("outs_no_cache", "metrics_no_cache", "plots_no_cache"), "outs: [PATH: {cache: false}] says it")
    | {
        "live": _OUT_HINTS["live"],
        "outs_persist": "outs: [PATH: {persist: true}] says it",
        "outs_persist_no_cache": "outs: [PATH: {persist: true, cache: false}] says it",
    }
)
_TOP_HINTS: Final = (
    dict.fromkeys(("cmd", "deps", "frozen", "md5", "outs", "wdir"), "stages have names, and stand below stages:")
    | dict.fromkeys(("desc", "labels", "meta", "type"), "only stages, outs and artifacts have it: else write a comment")
    | {
        "datasets": "vml has none: name files and directories in deps",
        "schema": "remove it: vml.yaml has no number of its format",
    }
)


def _outs(name: str, keys: dict[str, Key]) -> ListOf:
    return ListOf(Either((_PATH, MapOf(Either((Keys(name, keys, _OUT_HINTS), Null())), Text("a path")))))


_VARS: Final = ListOf(Either((Text("a file, or file:key,key"), MapOf(Anything()))))

STAGE: Final = Keys(
    "a stage",
    {
        "cmd": Key(
            Either((Text("a command"), ListOf(Text("a command"), least=1))),
            "the command; several lines are one script, a list is run one after the other",
            required=True,
        ),
        "wdir": Key(_PATH, "where it runs, and what its paths start from (default: where this file is)"),
        "deps": Key(ListOf(_PATH), "files and directories that it reads"),
        "params": Key(
            ListOf(Either((Text("a key"), MapOf(Either((ListOf(Text("a key")), Null())), Text("a file"))))),
            "keys of params.yaml that it reads, or file: [keys], or file: for all of it",
        ),
        "outs": Key(_outs("an out", _OUT), "files and directories that it makes; * ? [ ] make a pattern"),
        "metrics": Key(_outs("an out", _OUT), "outs that hold metrics"),
        "plots": Key(_outs("a plot of a stage", _OUT | _STAGE_PLOT), "outs that can be plotted"),
        "env": Key(
            ListOf(Text("the name of a variable", r"[A-Za-z_][A-Za-z0-9_]*")),
            "environment variables that it reads: another value runs it again",
        ),
        "vars": Key(_VARS, "values for its own templates: files, file:key,key, or mappings"),
        "matrix": Key(
            MapOf(Either((ListOf(Anything()), _TEMPLATE))),
            "one stage for each combination of these lists; ${item.NAME} is what it got",
        ),
        "if": Key(
            Either((_FLAG, Number("0 or 1", whole=True, most=1), Text("true or false", "true|false"), Null())),
            "false: there is no such stage (default: true)",
        ),
        "frozen": Key(_FLAG, "true: it is not run again, whatever changes (default: false)"),
        "always_changed": Key(_FLAG, "true: it is run each time (default: false)"),
        "resources": Key(Keys("resources", _RESOURCES), "what it takes while stages run side by side"),
        "mutex": Key(Either((Text("a name"), _TEXTS)), "stages with a name in common never run at the same time"),
        "retries": Key(Number("a whole number", whole=True), "how often it is tried again when it fails (default: 0)"),
        "timeout": Key(
            Either(
                (
                    Number("a number of seconds", above=True),
                    Text("a time such as 90s, 15 min, 2h", r"[0-9]{1,9}(\.[0-9]{1,9})? *(s|min|h|d)"),
                )
            ),
            "when it is stopped: seconds, or 90s, 15 min, 2h (default: never)",
        ),
        "shell": Key(Text("sh or bash", choices=("sh", "bash")), "what runs the command (default: sh)"),
        "desc": _ABOUT["desc"],
        "meta": _ABOUT["meta"],
    },
    _STAGE_HINTS,
)
FOREACH: Final = Keys(
    "a foreach",
    {
        "foreach": Key(
            Either((ListOf(Anything()), MapOf(Anything()), _TEMPLATE)),
            "what there is one stage for each of; ${item} is it, ${key} its key",
            required=True,
        ),
        "do": Key(
            STAGE._replace(
                name="a stage of a foreach", keys={key: each for key, each in STAGE.keys.items() if key != "matrix"}
            ),
            "the stage, as any other",
            required=True,
        ),
    },
)
DOCUMENT: Final = Keys(
    "vml.yaml",
    {
        "stages": Key(
            Either((MapOf(Forms(STAGE, FOREACH), Text("a name of letters, digits, _ . / @ -", STAGE_NAME)), Null())),
            "the stages, by name",
        ),
        "vars": Key(_VARS, "values for templates: files, file:key,key, or mappings; params.yaml is there without it"),
        "params": Key(ListOf(_PATH), "files of params that belong to no stage"),
        "metrics": Key(ListOf(_PATH), "files of metrics that belong to no stage"),
        "plots": Key(ListOf(Either((_PATH, MapOf(Either((Keys("a plot", _PLOT), Null())))))), "plots over any files"),
        "artifacts": Key(
            MapOf(
                Keys("an artifact", {"path": Key(_PATH, "where it is", required=True), **_ABOUT}),
                Text("a name of letters, digits, / _ -", r"[a-zA-Z0-9]([a-zA-Z0-9/_-]*[a-zA-Z0-9])?"),
            ),
            "things that others may ask for by name",
        ),
        "gates": Key(
            MapOf(Keys("a gate", _GATE), Text("file:key", r"[^:]+:[\s\S]+")), "what metrics must fulfil, by file:key"
        ),
    },
    _TOP_HINTS,
)


def validate(document: Any, *, resolved: bool = False) -> None:
    """Raise Fault unless this is what a vml.yaml may hold. An empty one holds None."""
    check(Either((DOCUMENT, Null())), document, resolved=resolved)


def validate_stage(stage: Any) -> None:
    """The same of one stage whose templates are resolved."""
    check(STAGE, stage, resolved=True)


def json_text() -> str:
    """The JSON Schema of vml.yaml, as it is shipped for editors."""
    schema = {"title": "vml.yaml", **json_schema(Either((DOCUMENT, Null())))}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
