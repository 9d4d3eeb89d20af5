"""Reports for programs: JSON, JUnit XML, OpenMetrics."""

from __future__ import annotations

import itertools
import json
import math
import re
from xml.etree import ElementTree

import pytest

from tests import reports
from tests.report.test_markdown import HOSTILE
from vcs_ml import output
from vcs_ml.hashing import XXH128
from vcs_ml.metrics.compare import MISSING, Row
from vcs_ml.pipeline.staleness import StageState
from vcs_ml.report import junit, markdown, openmetrics, record
from vcs_ml.report.gates import Gate, Result
from vcs_ml.report.model import Report

# The grammar of the specification, section "ABNF", as far as gauges without timestamps go.
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|Inf)|NaN"
LINE = re.compile(rf"# (?:TYPE|HELP|UNIT) [a-z_]+ [^\n]+|([a-z_]+)(\{{{_LABEL}(?:,{_LABEL})*\}})? ({_NUMBER})")


def hostile(words: str) -> Report:
    return reports.full(itertools.cycle([words]))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words(words: str) -> None:
    lines = openmetrics.write(hostile(words)).split("\n")
    assert lines[-2:] == ["# EOF", ""]
    assert all(LINE.fullmatch(line) for line in lines[:-2]), lines
    ElementTree.fromstring(junit.write(hostile(words)))
    text = output.json_text(record.write(hostile(words), XXH128)).encode("utf-8", "backslashreplace")
    assert json.loads(text)["schema"] == 1


def test_openmetrics() -> None:
    rows = [
        Row("m.json", "acc", 0.5, 0.75),
        Row("m.json", 'a"\\\n', MISSING, math.inf),
        Row("m.json", "nan", -math.inf, math.nan),
        Row("m.json", "name", "old", "new"),
        Row("m.json", "on", True, False),
        Row("m.json", "large", 10**30, 1e300),
    ]
    gate = Result(Gate("m.json", "acc", {}), 0.5, 0.75)
    lines = openmetrics.write(reports.empty(metrics=rows, gates=[gate])).splitlines()
    assert [line for line in lines if line.startswith(("vml_metric", "vml_gate"))] == [
        'vml_metric{file="m.json",key="acc"} 0.75',
        'vml_metric{file="m.json",key="a\\"\\\\\\n"} +Inf',
        'vml_metric{file="m.json",key="nan"} NaN',
        'vml_metric{file="m.json",key="large"} 1e+300',
        'vml_metric_base{file="m.json",key="acc"} 0.5',
        'vml_metric_base{file="m.json",key="nan"} -Inf',
        f'vml_metric_base{{file="m.json",key="large"}} {10**30}',
        'vml_gate{gate="m.json:acc"} 1',
    ]
    ours = openmetrics.write(reports.empty(metrics=[Row("\x1b[2J.json", "\u202ea\r\x85", 1, 2)]))
    assert 'vml_metric{file="\\\\x1b[2J.json",key="\\\\u202ea\\\\x0d\\\\x85"} 2' in ours.splitlines()
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert "# UNIT vml_data_growth_bytes bytes" in lines


def test_junit() -> None:
    top = ElementTree.fromstring(junit.write(hostile("x")))
    assert {key: top.attrib[key] for key in ("tests", "failures", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "skipped": "3",
    }
    failure = top.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == "x; x"


def test_what_is_left_out_and_taken_away_is_told() -> None:
    gate = Gate("m.json", "acc", {"min": 1})
    report = reports.empty(
        gates=[Result(gate, 1, 2)],
        removed=[gate],
        stale=[StageState("train", "stale", []), StageState("eval", "behind", [])],
        upstream={"eval": ["train"]},
        uncompared=[f"{n}.csv" for n in range(7)],
    )
    text, found = markdown.write(report, precision=5), record.write(report, XXH128)
    assert "**✅ 1 gate passed, 1 gate removed.**" in text
    assert "And 7 more tables changed" in text
    assert "`it needs train`" in text
    assert found["summary"].startswith("1 gate removed. ")
    assert len(found["tables_left"]) == 7
    xml = junit.write(report).decode()
    assert "system-out" not in xml
    assert 'message="not reproduced: it needs train"' in xml
    assert "the gate is gone: ≥ 1" in xml


def test_json_has_what_the_report_has() -> None:
    found = record.write(hostile("x"), XXH128)
    assert json.loads(output.json_text(found)) == found
    assert found["passed"] is False
    assert found["metrics"][0] == {
        "file": "x",
        "key": "x",
        "old": 0.25,
        "new": 0.5,
        "changed": True,
        "diff": 0.25,
        "percent": 100.0,
        "trend": "better",
    }
    assert "old" not in found["metrics"][2]
    assert found["stages"][0]["reasons"][0]["kind"] == "param"
    assert [each.get("error") for each in found["tables"]] == [None, "x"]
