"""A report as plain values, for JSON."""

from __future__ import annotations

from typing import Any

from vcs_ml.hashing import Algorithm
from vcs_ml.metrics import flat
from vcs_ml.metrics.compare import MISSING, Row
from vcs_ml.report import sections
from vcs_ml.report.data import Unlisted
from vcs_ml.report.gates import Result
from vcs_ml.report.model import Report
from vcs_ml.report.sides import Side
from vcs_ml.store import objects
from vcs_ml.store.page import Entry
from vcs_ml.workspace.status import Change

SCHEMA = 1


def write(report: Report, algorithm: Algorithm) -> dict[str, Any]:
    """Everything that the report has, with nothing left out; docs/commands/report.md describes it."""
    data, better = report.data, report.better
    return {
        "schema": SCHEMA,
        "title": report.title,
        "base": _side(report.base),
        "head": _side(report.head),
        "passed": report.passed,
        "verdict": sections.verdict(report),
        "summary": ". ".join(filter(None, (sections.gates_changed(report), sections.sentence(report)))),
        "gates": [_gate(each) for each in report.gates],
        "gates_removed": [{"file": each.file, "key": each.key, "rules": dict(each.rules)} for each in report.removed],
        "metrics": [_row(each) | {"trend": sections.trend(better, each) or None} for each in report.metrics],
        "params": [_row(each) for each in report.params],
        "data": {
            "counts": dict(sorted(data.counts.items())),
            "growth": data.growth,
            "files": [_change(each, algorithm) for each in data.changes],
            "directories": [_unlisted(each, algorithm) for each in data.unlisted],
        },
        "tables": [each.as_json() for each in report.tables],
        "tables_left": list(report.uncompared),
        "plots_changed": sorted(report.changed_plots),
        "stages": [
            {
                "name": each.name,
                "change": each.what,
                "reasons": [reason.as_json() for reason in each.reasons],
                "outs": list(each.outs),
            }
            for each in report.reruns
        ],
        "stale": [
            {
                "name": each.name,
                "state": each.state,
                "reasons": [reason.as_json() for reason in each.reasons],
                "needs": list(report.upstream.get(each.name, ())),
            }
            for each in report.stale
        ],
        "problems": [each._asdict() for each in report.problems],
    }


def _side(side: Side) -> dict[str, Any]:
    return {"rev": side.label, "commit": side.commit, "about": side.about or None}


def _gate(each: Result) -> dict[str, Any]:
    return {
        "file": each.gate.file,
        "key": each.gate.key,
        "rules": dict(each.gate.rules),
        **_values(each.old, each.new),
        "passed": each.passed,
        "faults": list(each.faults),
        "notes": list(each.notes),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "file": row.file,
        "key": row.key,
        **_values(row.old, row.new),
        "changed": row.changed,
        "diff": flat.json_value(row.delta),
        "percent": flat.json_value(row.percent),
    }


def _values(old: Any, new: Any) -> dict[str, Any]:
    """Both values; a side that has none has no such key."""
    found = {"old": old, "new": new}
    return {side: flat.json_value(value) for side, value in found.items() if value is not MISSING}


def _change(each: Change, algorithm: Algorithm) -> dict[str, Any]:
    source = {"from": each.source} if each.source is not None else {}
    sides = {"old": _entry(each.old, algorithm), "new": _entry(each.new, algorithm)}
    return {"path": each.path, "change": each.change, **source, **sides}


def _entry(entry: Entry | None, algorithm: Algorithm) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {"hash": objects.format_hash(objects.blob(entry.digest), algorithm), "size": entry.size}


def _unlisted(each: Unlisted, algorithm: Algorithm) -> dict[str, Any]:
    sides = {
        side: None
        if pointer is None
        else {"hash": objects.format_hash(pointer.oid, algorithm), "size": pointer.size, "nfiles": pointer.nfiles}
        for side, pointer in (("old", each.old), ("new", each.new))
    }
    return {"path": each.path, **sides}
