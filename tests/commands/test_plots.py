"""`vml plots show`, `diff` and `templates`: which plots there are, where their data comes from, what is written."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repo
from tests.plots.charts import HOSTILE, csv, png
from vcs_ml.plots import templates

LOSS = "loss.csv: {x: epoch, y: loss, cache: false}"


def curve(repo: Repo, path: str, *values: float) -> None:
    repo.write(path, csv(("epoch", "loss"), enumerate(values)))


def figures(repo: Repo, *args: str, cwd: str = "") -> dict[str, Any]:
    """The plots that `vml plots ARGS --json` finds, by their ids."""
    found = repo.json("plots", *args, cwd=cwd)
    assert len({each["id"] for each in found["plots"]}) == len(found["plots"])
    return {each["id"]: each for each in found["plots"]}


def points(figure: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = figure["vega"]["data"]["values"]
    return found


def revs(figure: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(each["rev"] for each in points(figure)))


def errors(repo: Repo, *args: str) -> list[tuple[str | None, str]]:
    return [(each["rev"], each["path"]) for each in repo.json("plots", *args)["errors"]]


@pytest.fixture
def trained(repo: Repo) -> Repo:
    """Two tagged commits with a curve, and a third curve in the workspace."""
    repo.write("vml.yaml", "plots:\n  - loss.csv: {x: epoch, y: loss}\n")
    for number, last in enumerate((0.5, 0.4)):
        curve(repo, "loss.csv", 1, last)
        repo.commit(f"{number}")
        repo.git("tag", f"v{number}")
    curve(repo, "loss.csv", 1, 0.3)
    return repo


# --- Revisions -------------------------------------------------------------------------------------------


def test_revisions_lie_over_each_other(trained: Repo) -> None:
    assert revs(figures(trained, "show")["loss.csv"]) == ["workspace"]
    shown = figures(trained, "show", "v0", "v1")["loss.csv"]
    assert [(each["rev"], each["epoch"], each["loss"]) for each in points(shown)] == [
        ("v0", 0, 1), ("v0", 1, 0.5), ("v1", 0, 1), ("v1", 1, 0.4),
    ]  # fmt: skip
    assert revs(figures(trained, "diff")["loss.csv"]) == ["HEAD", "workspace"]
    assert revs(figures(trained, "diff", "v0")["loss.csv"]) == ["v0", "workspace"]
    assert revs(figures(trained, "diff", "v0", "v1")["loss.csv"]) == ["v0", "v1"]
    assert revs(figures(trained, "show", "--all-tags")["loss.csv"]) == ["v0", "v1"]
    assert trained.json("plots", "diff", "v0")["revisions"] == ["v0", "workspace"]


def test_the_page_says_what_it_compares(trained: Repo) -> None:
    assert trained.run("plots", "diff", "v0").out == "plots.html\n"
    page = trained.read("plots.html").decode()
    assert page.startswith("<!DOCTYPE html>")
    assert "v0, workspace" in page
    assert 'aria-label="line chart of loss over epoch: v0, workspace"' in page
    trained.run("plots", "show")
    assert "v0, workspace" not in trained.read("plots.html").decode()


def test_a_branch_that_is_called_workspace(trained: Repo) -> None:
    trained.git("branch", "workspace", "v0")
    assert [each["loss"] for each in points(figures(trained, "show", "workspace")["loss.csv"])] == [1, 0.3]
    found = points(figures(trained, "diff", "refs/heads/workspace", "workspace")["loss.csv"])
    assert [each["loss"] for each in found] == [1, 0.5, 1, 0.3]
    assert len({each["rev"] for each in found}) == 2


def test_missing_at_one_revision(trained: Repo) -> None:
    trained.git("rm", "-qf", "loss.csv")
    trained.commit("gone")
    found = figures(trained, "diff", "v1", "HEAD")["loss.csv"]
    assert revs(found) == ["v1"]
    assert found["notes"] == ["HEAD: there is no loss.csv"]
    before = figures(trained, "show", "v0~1", "v1")["loss.csv"]
    assert (revs(before), before["notes"]) == (["v1"], ["v0~1: there is no loss.csv"])


def test_definitions_differ_between_revisions(trained: Repo) -> None:
    trained.write("acc.csv", csv(("epoch", "acc"), [(0, 0.9)]))
    trained.write("vml.yaml", "plots:\n  - acc.csv\n  - loss.csv: {y: epoch, title: New, template: scatter}\n")
    found = figures(trained, "diff", "v1")
    assert list(found) == ["acc.csv", "loss.csv"]
    assert found["loss.csv"]["title"] == "New"
    assert revs(found["loss.csv"]) == ["v1", "workspace"]
    back = figures(trained, "show", "v1")
    assert list(back) == ["loss.csv"]
    assert back["loss.csv"]["title"] == "loss.csv"
    # What only the older one declares is still shown.
    trained.write("vml.yaml", "plots: [acc.csv]\n")
    assert list(figures(trained, "diff", "v1")) == ["acc.csv", "loss.csv"]


def test_a_vml_yaml_that_cannot_be_read_at_one_revision(trained: Repo) -> None:
    trained.write("vml.yaml", "plots: {loss.csv\n")
    result = trained.run("plots", "diff", "v1", "--json")
    assert revs(json.loads(result.out)["plots"][0]) == ["v1", "workspace"]
    assert "warning: vml.yaml" in result.err
    assert "(at workspace)" in result.err
    assert errors(trained, "diff", "v1") == [("workspace", "vml.yaml")]


# --- Targets ---------------------------------------------------------------------------------------------


@pytest.fixture
def several(repo: Repo) -> Repo:
    """Plots of a file, of a directory, of two files under a name, and one that nobody declares."""
    for name in ("loss.csv", "plots/train.csv", "plots/deep/test.csv", "other/free.csv"):
        curve(repo, name, 3, 2, 1)
    repo.write(
        "vml.yaml",
        """
plots:
  - plots
  - loss.csv
  - both: {x: epoch, y: {plots/train.csv: loss, plots/deep/test.csv: [loss]}}
""",
    )
    return repo


def test_targets(several: Repo) -> None:
    def named(*targets: str, cwd: str = "") -> list[str]:
        options = [word for each in targets for word in ("--target", each)]
        return sorted(figures(several, "show", *options, cwd=cwd))

    every = ["both", "loss.csv", "plots/deep/test.csv", "plots/train.csv"]
    assert named() == every
    assert named("both") == ["both"]
    assert named("loss.csv", "both") == ["both", "loss.csv"]
    assert named("plots") == named("plots/") == ["plots/deep/test.csv", "plots/train.csv"]
    assert named("plots/*.csv") == ["plots/train.csv"]
    assert named("**/*.csv") == ["loss.csv", "plots/deep/test.csv", "plots/train.csv"]
    assert named(".") == every
    # What nobody declares is drawn as it is.
    assert named("other/free.csv") == named("other") == ["other/free.csv"]


def test_targets_start_from_the_current_directory(several: Repo) -> None:
    assert list(figures(several, "show", "-t", "train.csv", cwd="plots")) == ["plots/train.csv"]
    assert list(figures(several, "show", "-t", "../loss.csv", cwd="plots")) == ["loss.csv"]
    assert sorted(figures(several, "show", "-t", ".", cwd="plots")) == ["plots/deep/test.csv", "plots/train.csv"]
    assert list(figures(several, "show", "-t", "both", cwd="plots")) == ["both"]


def test_targets_that_are_nowhere(several: Repo) -> None:
    assert "there is no plot nosuch" in several.fails("plots", "show", "-t", "nosuch", code=3).err
    several.write("vml.yaml", "plots:\n  - both: {title: My loss, y: {loss.csv: loss}}\n")
    assert "hint: it is the title of a plot: -t both" in several.fails("plots", "show", "-t", "My loss", code=3).err
    assert "hint: did you mean both?" in several.fails("plots", "show", "-t", "bth", code=3).err
    assert "there is no plot *.svg" in several.fails("plots", "show", "-t", "*.svg", code=3).err
    assert "outside of the project" in several.fails("plots", "show", "-t", "../x", code=3).err
    several.fails("plots", "show", "-t", ".git/config", code=3)
    several.fails("plots", "show", "-t", "", code=2)
    assert "unknown revision" in several.fails("plots", "show", "nosuch", code=3).err
    assert "unknown revision" in several.fails("plots", "diff", "HEAD", "nosuch", code=3).err


# --- Declarations ----------------------------------------------------------------------------------------


def test_plots_of_stages(repo: Repo) -> None:
    repo.write(
        "vml.yaml",
        "stages:\n  train:\n    wdir: src\n    cmd: 'true'\n    plots:\n"
        "      - loss.csv: {x: epoch, y: loss, title: Loss, x_label: Epochs, cache: false}\n      - pictures\n",
    )
    curve(repo, "src/loss.csv", 2, 1)
    repo.write("src/pictures/a.png", png(4, 4))
    repo.write("src/pictures/b.csv", "a,b\n1,2\n")
    found = figures(repo, "show")
    assert list(found) == ["src/loss.csv", "src/pictures/a.png", "src/pictures/b.csv"]
    assert found["src/loss.csv"]["title"] == "Loss"
    assert found["src/loss.csv"]["vega"]["encoding"]["x"]["title"] == "Epochs"
    assert found["src/pictures/a.png"]["images"] == [{"revs": ["workspace"], "size": len(png(4, 4))}]


def test_columns_of_several_files(repo: Repo) -> None:
    repo.write("a/train.tsv", "step\tacc\n0\t0.5\n1\t0.6\n")
    repo.write("a/test.json", json.dumps({"points": [{"at": 0, "acc": 0.4}, {"at": 1, "acc": 0.5}]}))
    repo.write("x.yaml", "- {when: 5}\n- {when: 6}\n")
    repo.write(
        "vml.yaml",
        """
plots:
  - same x: {x: step, y: {a/train.tsv: acc}}
  - own x: {x: {a/train.tsv: step, a/test.json: at}, y: {a/train.tsv: acc, a/test.json: acc}}
  - other x: {x: {x.yaml: when}, y: {a/train.tsv: acc, a/test.json: acc}}
  - a/train.tsv: {y: [step, acc]}
""",
    )
    found = figures(repo, "show")
    assert [each["acc"] for each in points(found["same x"])] == [0.5, 0.6]
    assert [(each["filename"], each["step"], each["acc"]) for each in points(found["own x"])] == [
        ("a/train.tsv", 0, 0.5), ("a/train.tsv", 1, 0.6), ("a/test.json", 0, 0.4), ("a/test.json", 1, 0.5),
    ]  # fmt: skip
    assert [each["when"] for each in points(found["other x"])] == [5, 6, 5, 6]
    assert list(dict.fromkeys(each["field"] for each in points(found["a/train.tsv"]))) == ["step", "acc"]


def test_paths_in_a_nested_vml_yaml_start_from_it(repo: Repo) -> None:
    for at in ("", "deep/"):
        curve(repo, f"{at}loss.csv", 2, 1)
        curve(repo, f"{at}more.csv", 2, 1)
        repo.write(f"{at}mine.json", templates.text("scatter"))
        repo.write(
            f"{at}vml.yaml",
            "plots:\n  - loss.csv: {template: mine.json}\n  - both: {y: {loss.csv: loss, more.csv: loss}}\n",
        )
    curve(repo, "deep/down/up.csv", 1)
    repo.write("deep/down/vml.yaml", "plots: [../loss.csv, up.csv]\n")
    found = figures(repo, "show")
    assert list(found) == ["loss.csv", "both", "deep/loss.csv", "deep/both", "deep/down/up.csv"]
    assert {each["filename"] for each in points(found["deep/both"])} == {"deep/loss.csv", "deep/more.csv"}
    assert {each["filename"] for each in points(found["both"])} == {"loss.csv", "more.csv"}
    assert list(figures(repo, "show", "-t", "both", cwd="deep")) == ["deep/both"]
    (repo.path / "mine.json").unlink()
    assert set(figures(repo, "show")) == set(found) - {"loss.csv"}
    assert errors(repo, "show") == [(None, "loss.csv")]


def test_plots_that_lead_out_of_the_project(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a,hunter2\n1,2\n")
    (repo.path / "link.csv").symlink_to(tmp_path / "secret.csv")
    curve(repo, "loss.csv", 1)
    repo.write(
        "vml.yaml",
        f"plots:\n  - ../secret.csv\n  - {tmp_path}/secret.csv\n  - link.csv\n  - loss.csv\n"
        "  - t: {y: {loss.csv: loss}, template: ../../x.json}\n",
    )
    for args in (("show",), ("show", "HEAD"), ("diff",)):
        repo.commit()
        result = repo.run("plots", *args, "--json")
        assert "hunter2" not in result.out + result.err
        assert [each["id"] for each in json.loads(result.out)["plots"] if each.get("vega", {}).get("data")]
    assert "loss.csv" in figures(repo, "show")


# --- Templates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", templates.NAMES)
def test_every_template_draws(repo: Repo, name: str) -> None:
    repo.write("data.csv", csv(("actual", "predicted"), [(0, 0), (0, 1), (1, 1), (2, 2)]))
    repo.write("vml.yaml", f"plots:\n  - data.csv: {{x: actual, y: predicted, template: {name}}}\n")
    repo.run("plots", "show", "--format", "svg")
    (drawn,) = (repo.path / "plots").iterdir()
    assert drawn.read_text().startswith("<svg")
    assert name in repo.run("plots", "templates").out.split()
    assert json.loads(repo.run("plots", "templates", name).out)["data"] == {"values": "<VML_DATA>"}


def test_a_chart_that_cannot_be_drawn_keeps_no_other_from_it(repo: Repo) -> None:
    for name in "abc":
        repo.write(f"{name}.csv", csv(("y",), [(1,), (2,)]))
    repo.write(".vml/plots/bad.json", json.dumps({"data": {"values": "<VML_DATA>"}, "mark": 5}))
    repo.write("vml.yaml", "plots: [a.csv, b.csv: {template: bad}, c.csv]\n")
    result = repo.fails("plots", "show", "--format", "svg", "-o", "out", code=3)
    assert [each.name for each in sorted((repo.path / "out").iterdir())] == ["01-a.csv.svg", "03-c.csv.svg"]
    assert "warning: b.csv cannot be drawn" in result.err
    assert "error: 1 chart could not be drawn" in result.err


@pytest.mark.parametrize("number", ["9" * 29, "-" + "9" * 29, "9" * 400, "9" * 5000])
def test_whole_numbers_of_any_size_are_drawn(repo: Repo, number: str) -> None:
    repo.write("a.csv", f"y,z\n1,{number}\n{number},{number}\n3,{number}\n")
    repo.write("b.csv", f"y\n1\n{number}\nx\n3\n")
    repo.write("c.json", f'[{{"y": 1}}, {{"y": {number[:4000]}}}]')
    repo.write("vml.yaml", "plots: [a.csv: {y: y}, b.csv, c.json]\n")
    repo.run("plots", "show", "--format", "svg", "-o", "out")
    assert len(list((repo.path / "out").iterdir())) == 3


def test_a_template_of_the_project(trained: Repo) -> None:
    mine = {"data": {"values": "<DVC_METRIC_DATA>"}, "mark": "rect", "encoding": {"x": {"field": "<VML_X>"}}}
    trained.write(".vml/plots/mine.json", json.dumps(mine))
    trained.write("vml.yaml", "plots:\n  - loss.csv: {x: epoch, y: loss, template: mine}\n")
    found = figures(trained, "show")["loss.csv"]["vega"]
    assert (found["mark"], found["encoding"]["x"]["field"], len(found["data"]["values"])) == ("rect", "epoch", 2)
    trained.commit("with a template")
    shutil.rmtree(trained.path / ".vml/plots")
    assert figures(trained, "show", "HEAD")["loss.csv"]["vega"]["mark"] == "rect"
    # The last revision that has it says how it looks.
    assert figures(trained, "diff")["loss.csv"]["vega"]["mark"] == "rect"
    assert errors(trained, "show") == [(None, "loss.csv")]
    trained.write(".vml/plots/mne.json", json.dumps(mine))
    assert "hint: did you mean mne?" in trained.run("plots", "show").err
    trained.write(".vml/plots/xyzzy.json", json.dumps(mine))
    (trained.path / ".vml/plots/mne.json").unlink()
    assert "xyzzy" in trained.run("plots", "show", "--json").err
    trained.commit("without it")
    trained.write(".vml/plots/mine.json", json.dumps(mine))
    assert "hint: it is in the workspace" in trained.run("plots", "show", "HEAD", "--json").err


def test_templates_that_are_wrong(repo: Repo) -> None:
    curve(repo, "loss.csv", 2, 1)
    wrong = {
        "far.json": {"data": {"values": "<VML_DATA>"}, "mark": {"type": "image", "url": "http://tracker.example/x"}},
        "empty.json": {"mark": "bar"},
        "list.json": [1],
    }
    for name, content in wrong.items():
        repo.write(name, json.dumps(content))
    repo.write("broken.json", "{")
    names = ["conection", "confusoin", "deep/none.json", *wrong, "broken.json"]
    plots = [{f"p{at}": {"y": {"loss.csv": "loss"}, "template": name}} for at, name in enumerate(names)]
    repo.write("vml.yaml", json.dumps({"plots": [*plots, "loss.csv"]}))
    result = repo.run("plots", "show", "--json")
    assert [each["id"] for each in json.loads(result.out)["plots"]] == ["loss.csv"]
    assert len(json.loads(result.out)["errors"]) == len(names)
    assert "there is no template confusoin, which vml.yaml names for the plot p1" in result.err
    assert "did you mean confusion?" in result.err
    assert "there is no template deep/none.json" in result.err
    assert "tracker.example" not in result.out
    repo.run("plots", "show", "-t", "p1")
    page = repo.read("plots.html").decode()
    assert '<section id="p1" aria-label="p1"><h2>p1</h2><p>Nothing to draw.</p><p class="note">there is no t' in page
    assert "hint: did you mean confusion?" in page
    failed = repo.fails("plots", "templates", "confusoin", code=3)
    assert "did you mean confusion?" in failed.err


def test_templates_of_the_project_are_listed_and_printed(repo: Repo, tmp_path: Path) -> None:
    assert repo.run("plots", "templates").out.split() == list(templates.NAMES)
    text = templates.text("scatter")
    for name in ("mine", "linear"):  # of the latter name, ours is drawn
        repo.write(f".vml/plots/{name}.json", text)
    (tmp_path / "far.json").write_text(text)
    (repo.path / ".vml/plots/far.json").symlink_to(tmp_path / "far.json")
    repo.write("sub/x", "")
    assert repo.run("plots", "templates", cwd="sub").out.split() == [*templates.NAMES, "far", "mine"]
    assert repo.run("plots", "templates", "mine", cwd="sub").out == text
    assert repo.run("plots", "templates", "linear").out == templates.text("linear")
    assert "did you mean mine?" in repo.fails("plots", "templates", "mnie", code=3).err
    repo.fails("plots", "templates", "far", code=3)
    repo.fails("plots", "templates", "../../x", code=3)


# --- Data ------------------------------------------------------------------------------------------------


def test_a_page_has_room_for_so_many_pictures(repo: Repo) -> None:
    repo.write("vml.yaml", "plots: [seen]\n")
    repo.write("seen/0.png", png(2, 2) + b"\0" * 9_900_000)
    for at in range(1, 7):
        os.link(repo.path / "seen/0.png", repo.path / f"seen/{at}.png")
    found = figures(repo, "show")
    assert [len(each["images"]) for each in found.values()] == [1] * 5 + [0, 0]
    assert "up to 50.0 MB (-t seen/6.png shows it)" in found["seen/6.png"]["notes"][0]
    assert len(figures(repo, "show", "-t", "seen/6.png")["seen/6.png"]["images"]) == 1


def test_a_document_is_smaller_than_a_table(repo: Repo) -> None:
    repo.write("vml.yaml", "plots: [a.json, a.yaml]\n")
    for name in ("a.json", "a.yaml"):
        repo.write(name, b'[{"a": 1}]' + b"\n" * 16_000_000)
    assert sorted(errors(repo, "show")) == [("workspace", "a.json"), ("workspace", "a.yaml")]


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(trained: Repo) -> None:
    trained.write("vml.yaml", "plots: [loss.csv, bad.json, bin.csv, empty.csv, none.json, fine.csv, pic.png, model]\n")
    trained.write("bad.json", '{"a": [')
    trained.write("bin.csv", b"a,b\n\0\1\n")
    trained.write("empty.csv", "")
    trained.write("none.json", '{"a": 1}')
    trained.write("pic.png", "no picture")
    trained.write("model", os.urandom(2000) + b"\0")
    curve(trained, "fine.csv", 1, 2)
    trained.commit("broken ones")
    for path in ("bad.json", "none.json"):
        trained.write(path, '[{"a": 1}]')
    result = trained.run("plots", "diff", "--json")
    found = {each["id"]: each for each in json.loads(result.out)["plots"]}
    assert revs(found["loss.csv"]) == revs(found["fine.csv"]) == ["HEAD", "workspace"]
    assert revs(found["bad.json"]) == revs(found["none.json"]) == ["workspace"]
    assert "empty.csv is empty" in found["empty.csv"]["notes"][0]
    assert found["pic.png"]["images"] == []
    assert "is no picture" in found["pic.png"]["notes"][0]
    assert "bad.json is not JSON" in result.err
    assert "(at HEAD)" in result.err
    assert "bin.csv is no plot: it is binary" in result.err
    assert [(each["rev"], each["path"]) for each in json.loads(result.out)["errors"]] == [
        ("HEAD", "bad.json"), ("HEAD", "bin.csv"), ("workspace", "bin.csv"), ("HEAD", "none.json"),
        ("HEAD", "model"), ("workspace", "model"),
    ]  # fmt: skip
    trained.run("plots", "diff")
    page = trained.read("plots.html").decode()
    assert page.count("<h2") == 8
    for words in (
        "HEAD, workspace: bin.csv is no plot: it is b",
        "HEAD: bad.json is n",
        "HEAD, workspace: model is no plot",
    ):
        assert f'<p class="note">{words}' in page
    assert "there is no bin.csv" not in page
    trained.run("plots", "diff", "--format", "svg", "-o", "drawn")
    assert len(list((trained.path / "drawn").iterdir())) == 4


def test_what_nobody_can_look_at_is_told_on_the_page(repo: Repo, tmp_path: Path) -> None:
    for name in ("far.csv", "far.png"):
        (tmp_path / name).write_text("a\n1\n")
        (repo.path / name).symlink_to(tmp_path / name)
    repo.write("open.csv", 'a,b\n1,"2\n')
    repo.write("bare.csv", "a,b\n")
    repo.write("vml.yaml", "plots: [far.csv, far.png, open.csv, bare.csv]\n")
    said = [re.sub(r"^warning: | \(at workspace\)$", "", each) for each in repo.run("plots", "show").err.splitlines()]
    notes = re.findall('<p class="note">(.*?)</p>', repo.read("plots.html").decode())
    assert len(notes) == 4
    assert notes[3] == "workspace: bare.csv has no rows"
    assert {note.removeprefix("workspace: ") for note in notes[:3]} <= set(said)


def test_data_that_is_in_the_store_only(repo: Repo, remote: Path) -> None:
    repo.write("vml.yaml", "stages:\n  s: {cmd: 'true', plots: [logs, loss.csv]}\n")
    for number in range(2):
        curve(repo, "loss.csv", 1, number)
        curve(repo, "logs/a.csv", 1, number)
        repo.write("logs/b.png", png(3, 3, number))
        repo.run("commit", "s")
        repo.commit(f"{number}")
    repo.run("push", "--all-commits")
    clone = repo.clone("clone")
    result = clone.run("plots", "diff", "HEAD~1", "HEAD", "--json")
    assert "--fetch" in result.err
    found = figures(clone, "diff", "HEAD~1", "HEAD", "--fetch")
    assert list(found) == ["logs/a.csv", "logs/b.png", "loss.csv"]
    assert revs(found["loss.csv"]) == revs(found["logs/a.csv"]) == ["HEAD~1", "HEAD"]
    assert [each["revs"] for each in found["logs/b.png"]["images"]] == [["HEAD~1"], ["HEAD"]]
    # Now they are here, and nothing was checked out.
    assert figures(clone, "diff", "HEAD~1", "HEAD") == found
    assert not (clone.path / "loss.csv").exists()
    assert revs(figures(clone, "show")["loss.csv"]) == ["workspace"]


def test_pictures_side_by_side(repo: Repo) -> None:
    repo.write("vml.yaml", "plots: [same.png, other.png, resized.png, new.png]\n")
    for name, shade in (("same", 9), ("other", 1), ("resized", 1)):
        repo.write(f"{name}.png", png(6, 6, shade))
    repo.commit()
    repo.write("other.png", png(6, 6, 200))
    repo.write("resized.png", png(7, 6, 1))
    repo.write("new.png", png(2, 2))
    found = figures(repo, "diff")
    assert found["same.png"]["notes"] == ["HEAD, workspace: the same picture"]
    assert found["resized.png"]["notes"] == ["the pictures differ in their size"]
    assert found["new.png"]["notes"] == ["HEAD: there is no new.png"]
    repo.run("plots", "diff")
    page = repo.read("plots.html").decode()
    assert page.count("data:image/png;base64,") == 6
    assert page.count("data-apart=") == 1
    assert "data-chart=" not in page
    assert len(page) < 30_000  # without what draws charts


# --- What is written -------------------------------------------------------------------------------------


def test_a_file_that_is_no_page_is_not_overwritten(trained: Repo) -> None:
    before = trained.read("loss.csv")
    trained.write("mine.csv", "a\n")
    for form in ("html", "json"):
        for name, why in (("loss.csv", "is tracked by Git"), ("mine.csv", "is there, and is no plot of vml")):
            assert why in trained.fails("plots", "show", "--format", form, "-o", name, code=3).err
        assert trained.read("mine.csv") == b"a\n"
        assert trained.read("loss.csv") == before
    trained.write("empty.html", "")
    trained.run("plots", "show", "-o", "empty.html")
    first = trained.read("empty.html")
    trained.run("plots", "diff", "-o", "empty.html")
    assert trained.read("empty.html") != first
    trained.fails("plots", "show", "-o", "nosuch/x.html", code=3)
    (trained.path / "folder").mkdir()
    trained.fails("plots", "show", "-o", "folder", code=3)
    trained.write("mine.html", "<!DOCTYPE html>\n<title>mine</title>")
    hint = "hint: --force replaces it; or name another file: -o compared.html\n"
    assert hint in trained.fails("plots", "show", "-o", "mine.html", code=3).err
    trained.run("plots", "show", "-o", "mine.html", "--force")
    assert len(trained.read("mine.html")) > 10_000
    assert "is tracked by Git" in trained.fails("plots", "show", "-o", "loss.csv", "--force", code=3).err


@pytest.mark.parametrize("form", ["svg", "png"])
def test_pictures_replace_pictures_of_plots_only(trained: Repo, tmp_path: Path, form: str) -> None:
    name = f"mine/01-loss.csv.{form}"
    notes = png(2, 2) if form == "png" else b"<svg/>"
    trained.write(name, notes)
    show = ("plots", "show", "--format", form, "-o")
    assert "is no plot of vml" in trained.fails(*show, "mine", code=3).err
    assert trained.read(name) == notes
    for _ in range(2):
        trained.run(*show, "new/deep")
    (trained.path / "pics").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    assert "pics is a link" in trained.fails(*show, "pics/new", code=3).err
    assert list((tmp_path / "outside").iterdir()) == []
    for place in ("loss.csv", f"x.{form}", "-"):
        result = trained.fails(*show, place, code=2)
        assert f"hint: name a directory: --format {form} -o DIR\n" in result.err, place
        assert not (trained.path / f"x.{form}").exists()
    assert f"--format {form} -o DIR" in trained.fails("plots", "show", "-o", f"x.{form}", code=2).err


def test_into_a_pipe_and_not_through_a_link(trained: Repo, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    trained.run("plots", "show", "-o", str(pipe))
    reader.join(60)
    assert read[0].startswith(b"<!DOCTYPE html>")
    assert pipe.is_fifo()
    (trained.path / "link.html").symlink_to("target.html")
    assert "link.html is a link" in trained.fails("plots", "show", "-o", "link.html", code=3).err
    assert not (trained.path / "target.html").exists()


def test_svg_png_and_json(trained: Repo) -> None:
    trained.write("other.png", png(2, 2))
    trained.write("vml.yaml", "plots:\n  - loss.csv: {x: epoch, y: loss}\n  - other.png\n  - no.csv\n")
    result = trained.run("plots", "diff", "--format", "svg", "-o", "out")
    assert [path.name for path in (trained.path / "out").iterdir()] == ["01-loss.csv.svg"]
    assert "1 chart in" in result.err
    drawn = trained.read("out/01-loss.csv.svg").decode()
    assert {"HEAD", "workspace"} <= set(re.findall(r">([\w.]+)</text>", drawn))
    trained.run("plots", "diff", "--format", "png")
    raw = trained.read("plots/01-loss.csv.png")
    assert raw.startswith(b"\x89PNG")
    width, height = struct.unpack_from(">II", raw, 16)
    assert width > height > 300
    assert trained.run("plots", "show", "--format", "json").out == trained.run("plots", "show", "--json").out
    for _ in range(2):
        trained.run("plots", "show", "-o", "out.json")
    assert json.loads(trained.read("out.json"))["plots"][0]["id"] == "loss.csv"
    assert trained.run("plots", "show", "-o", "-").out.startswith("<!DOCTYPE html>")
    assert trained.run("plots", "show", "--json", "-o", "-").out == trained.run("plots", "show", "--json").out
    assert not (trained.path / "-").exists()
    assert "leave the format out" in trained.fails("plots", "show", "--open", "-o", "-", code=2).err


def test_no_plots(repo: Repo) -> None:
    result = repo.run("plots", "show")
    assert (result.out, "there are no plots" in result.err) == ("", True)
    assert not (repo.path / "plots.html").exists()
    assert repo.json("plots", "diff") == {"schema": 1, "revisions": ["HEAD", "workspace"], "plots": [], "errors": []}


def test_options_that_exclude_each_other(trained: Repo) -> None:
    trained.fails("plots", "show", "--open", "--format", "svg", code=2)
    trained.fails("plots", "diff", "--open", "--json", code=2)
    trained.fails("plots", "show", "--format", "pdf", code=2)
    trained.fails("plots", "nosuch", code=2)


def test_hostile_names_and_values(repo: Repo) -> None:
    name = "<img src=x onerror=alert(1)>\n\x1b[31m.csv"
    repo.write(name, csv(("a", '"</script><script>alert(1)</script>"'), [(1, 2), ("<b>", 3)]))
    pic = '"><script>alert(2)<svg onload=x>.png'
    repo.write(pic.replace("/", ""), png(2, 2))
    shown = {each: {"title": HOSTILE, "y_label": HOSTILE} for each in (name, HOSTILE.replace("/", ""))}
    shown[HOSTILE.replace("/", "")]["y"] = {name: "a"}  # type: ignore[assignment]
    plots = [{key: value} for key, value in shown.items()]
    repo.write("vml.yaml", json.dumps({"plots": [*plots, pic]}))
    repo.git("config", "user.name", "x")
    repo.git("branch", "-q", "<script>alert")
    repo.commit()
    result = repo.run("plots", "diff", "<script>alert")
    assert "\x1b" not in result.out + result.err
    page = repo.read("plots.html").decode()
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "<script>alert" not in page
    assert "<img src=x" not in outside
    assert "onerror=alert(1)>\n" not in outside
    assert "<b>" not in outside
    found = repo.run("plots", "diff", "<script>alert", "--format", "svg")
    assert "\x1b" not in found.err
    for path in (repo.path / "plots").iterdir():
        assert "<script" not in path.read_text()
        assert path.parent == repo.path / "plots"


def test_huge_files_are_refused(repo: Repo) -> None:
    repo.write("many.csv", b"1" + b"," * 5_000_001)
    with repo.write("large.csv", "").open("r+b") as file:
        file.truncate(200_000_000)
    curve(repo, "fine.csv", 1)
    repo.write("vml.yaml", "plots: [many.csv, large.csv, fine.csv]\n")
    result = repo.run("plots", "show", "--json")
    assert "many.csv has more than 5,000,000 cells" in result.err
    assert "large.csv is larger than 128.0 MB" in result.err
    assert revs(json.loads(result.out)["plots"][2]) == ["workspace"]


def test_too_many_plots(repo: Repo) -> None:
    for number in range(501):
        curve(repo, f"many/{number:03}.csv", 1)
    repo.write("vml.yaml", "plots: [many]\n")
    result = repo.run("plots", "show", "--json")
    assert "501 plots are too many: the first 500 are drawn" in result.err
    assert len(json.loads(result.out)["plots"]) == 500
    assert list(figures(repo, "show", "-t", "many/500.csv")) == ["many/500.csv"]


def test_many_problems_are_cut(repo: Repo) -> None:
    for number in range(30):
        repo.write(f"bad/{number}.json", "{")
    repo.write("vml.yaml", "plots: [bad]\n")
    result = repo.run("plots", "show")
    assert result.err.count("warning: ") == 21
    assert "10 more problems of this kind" in result.err
    assert len(repo.json("plots", "show")["errors"]) == 30


def test_in_a_bare_repository(trained: Repo, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    trained.git("clone", "-q", "--bare", ".", str(bare))
    assert revs(figures(trained, "show", cwd=str(bare))["loss.csv"]) == ["HEAD"]
    assert revs(figures(trained, "diff", "v0", "v1", cwd=str(bare))["loss.csv"]) == ["v0", "v1"]
    trained.fails("plots", "diff", cwd=str(bare), code=3)


def test_reading_changes_nothing(trained: Repo) -> None:
    trained.commit("three")
    trained.run("plots", "diff", "v0", "-o", "../plots.html")
    trained.run("plots", "show", "--all-tags", "--format", "svg", "-o", "../plots")
    assert trained.git("status", "--porcelain") == ""


def test_many_points_are_the_same_by_any_number_of_processes(repo: Repo) -> None:
    names = [f"series/{n}.csv" for n in range(9)]
    for seed in range(2):
        chance = random.Random(seed)
        for at, name in enumerate(names):
            rows = [(step, chance.random() if at != 5 else 0.5) for step in range(20_000)]
            repo.write(
                name, csv(["step", "loss" if at != 2 else "gain"], rows) if at not in (4, 7) else b"\xff" * 400_000
            )
        repo.write("vml.yaml", "plots:\n" + "".join(f"  - {name}: {{x: step, y: loss}}\n" for name in names))
        repo.commit()

    def drawn() -> tuple[str, object, str]:
        found = repo.run("plots", "diff", "HEAD~1", "HEAD")
        return repo.read("plots.html").decode(), repo.json("plots", "diff", "HEAD~1", "HEAD"), found.err

    cores = os.sched_getaffinity(0)
    several = drawn()
    try:
        os.sched_setaffinity(0, {min(cores)})
        alone = drawn()
    finally:
        os.sched_setaffinity(0, cores)
    assert several == alone
    page, _, err = several
    assert page.count('class="chart"') == 6
    assert err.index("series/4.csv") < err.index("series/7.csv")
