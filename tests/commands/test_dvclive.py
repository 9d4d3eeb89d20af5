"""What DVCLive writes, as it is: metrics, params, plots and the report, with its dvc.yaml called vml.yaml."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser
from tests.conftest import Repo

WRITTEN = Path(__file__).parents[1] / "data/dvclive"


@pytest.fixture
def live(repo: Repo) -> Repo:
    """A commit with the first run, and the second in the workspace."""
    for run in ("first", "second"):
        shutil.rmtree(repo.path / "dvclive", ignore_errors=True)
        shutil.copytree(WRITTEN / run, repo.path, dirs_exist_ok=True)
        (repo.path / "dvc.yaml").rename(repo.path / "vml.yaml")
        if run == "first":
            repo.commit(run)
    return repo


def test_metrics_and_params(live: Repo) -> None:
    assert live.run("metrics", "show").out.splitlines() == [
        "file                  metric        workspace",
        "dvclive/metrics.json  train.loss        0.004",
        "dvclive/metrics.json  train.acc         0.896",
        "dvclive/metrics.json  eval.loss        0.0044",
        "dvclive/metrics.json  step                  4",
        "dvclive/metrics.json  best                  4",
    ]
    assert [line.split()[1:] for line in live.run("params", "diff").out.splitlines()[1:]] == [
        ["lr", "0.1", "0.02", "-0.08", "-80.0", "%"],
    ]  # fmt: skip
    assert len(live.run("metrics", "diff").out.splitlines()) == 4


def points(figure: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = figure["vega"]["data"]["values"]
    return found


def test_plots(live: Repo) -> None:
    found = {each["id"].removeprefix("dvclive/plots/"): each for each in live.json("plots", "diff")["plots"]}
    assert list(found) == [
        "metrics/eval/loss.tsv", "metrics/train/acc.tsv", "metrics/train/loss.tsv", "images/sample.png",
        "sklearn/cm.json", "sklearn/roc.json", "custom/importance.json",
    ]  # fmt: skip
    assert all(not each["notes"] for each in found.values())
    loss = points(found["metrics/train/loss.tsv"])
    assert [(each["rev"], each["step"], each["loss"]) for each in loss][4:7] == [
        ("HEAD", 4, 0.02), ("workspace", 0, 0.02), ("workspace", 1, 0.01),
    ]  # fmt: skip
    matrix = found["sklearn/cm.json"]
    assert matrix["title"] == "Confusion Matrix"
    counts = {tuple(each[key] for key in ("rev", "actual", "predicted", "count")) for each in points(matrix)}
    assert {("HEAD", "0", "0", 2), ("HEAD", "2", "1", 1), ("workspace", "2", "0", 1)} <= counts
    roc = found["sklearn/roc.json"]["vega"]
    assert (roc["mark"]["type"], roc["encoding"]["x"]["title"]) == ("line", "False Positive Rate")
    assert {each["rev"] for each in points(found["sklearn/roc.json"])} == {"HEAD", "workspace"}
    bars = points(found["custom/importance.json"])
    assert [(each["name"], each["weight"]) for each in bars] == [("a", 3), ("b", 1.0), ("a", 3), ("b", 0.2)]
    assert [each["revs"] for each in found["images/sample.png"]["images"]] == [["HEAD"], ["workspace"]]


def test_charts_as_pictures(live: Repo) -> None:
    live.run("plots", "diff", "--format", "svg")
    assert len(list((live.path / "plots").iterdir())) == 6


def test_the_report(live: Repo) -> None:
    text = live.run("report", "HEAD", "--no-gate").out
    for word in ("`lr`", "`train.acc`", "`eval.loss`", "draws 7 plots"):
        assert word in text
    assert "Problems" not in text
    found = json.loads(live.run("report", "HEAD", "--format", "json").out)
    assert (found["problems"], len(found["metrics"]), len(found["params"])) == ([], 5, 1)


def test_the_pages_in_a_browser(live: Repo, chromium: Browser) -> None:
    live.run("plots", "diff", "-o", "plots.html")
    live.run("report", "HEAD", "--format", "html", "-o", "report.html")
    for name in ("plots.html", "report.html"):
        page = chromium.open(live.path / name)
        page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        page.wait("document.querySelectorAll('.chart svg, .chart canvas').length === 6")
        assert (page.problems, page.requests) == ([], [])
