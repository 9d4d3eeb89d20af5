"""The scripts that people and continuous integration start: finding Python, installing once, the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def bash(command: str, *, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts in it and a .venv whose Python only writes down what it is asked to do."""
    root = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "scripts", root / "scripts")
    (root / "pyproject.toml").write_text("[project]\n")
    program(root / ".venv/bin/python", f'echo "$@" >> "{tmp_path}/asked"')
    return root


def installs(checkout: Path) -> int:
    return (checkout.parent / "asked").read_text().count("pip install")


def use_venv(checkout: Path, extras: str = "dev") -> subprocess.CompletedProcess[str]:
    return bash(f"source scripts/venv.sh; use_venv {extras}", cwd=checkout)


def test_demo_ends_with_everything_identical() -> None:
    shown = bash("scripts/demo", cwd=CHECKOUT)

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "$ vml push\n" in shown.stdout
    assert "$ vml push --run-cache\n" in shown.stdout
    assert "$ vml metrics show main~1 main HEAD\n" in shown.stdout
    assert "\na gate fails\n" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("all identical: 1,796 images"), shown.stdout


def test_browser_is_installed_once_and_only_by_root(checkout: Path) -> None:
    programs, asked = checkout / "programs", checkout / "asked"
    program(programs / "apt-get", f'echo "$@" >> "{asked}"')
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(shutil.which(name) or name)
    script = "source scripts/venv.sh; source scripts/browser.sh; use_browser"

    program(programs / "id", "echo 1000")
    refused = bash(script, cwd=checkout, PATH=str(programs))
    assert (refused.returncode, asked.exists()) == (0, False)
    assert "There is no Chromium" in refused.stderr

    program(programs / "id", "echo 0")
    bash(script, cwd=checkout, PATH=str(programs))
    assert "install -y --no-install-recommends chromium" in asked.read_text()

    program(programs / "chromium", "exit 0")
    asked.unlink()
    assert bash(script, cwd=checkout, PATH=str(programs)).stderr == ""
    assert not asked.exists()


def test_python_that_is_too_old_is_refused(checkout: Path) -> None:
    # It says its version, and exits with 1 when asked whether it is new enough.
    old = program(checkout / "python", 'test "$1" = --version && echo "Python 3.9.2"')

    refused = bash("source scripts/venv.sh; find_python", cwd=checkout, PYTHON=str(old))

    assert refused.returncode == 1
    assert "needs Python 3.11 or newer" in refused.stderr
    assert "Python 3.9.2" in refused.stderr
    assert refused.stdout == ""


def test_shim_that_does_not_run_is_passed_over(checkout: Path) -> None:
    shims = checkout / "shims"
    program(shims / "python3.13", "echo 'no such version' >&2; exit 127")
    program(shims / "python3.12", "exit 0")

    found = bash(
        "source scripts/venv.sh; find_python",
        cwd=checkout,
        PATH=f"{shims}:{os.environ['PATH']}",
        PYTHON="python3.13 python3.12",
    )

    assert found.stdout == "python3.12\n"


def test_installs_again_only_when_pyproject_changes(checkout: Path) -> None:
    first = use_venv(checkout)
    assert first.returncode == 0, first.stderr
    assert installs(checkout) == 1

    again = use_venv(checkout)
    assert again.stderr == ""
    assert installs(checkout) == 1

    (checkout / "pyproject.toml").write_text("[project]\nname = 'new'\n")
    use_venv(checkout)
    assert installs(checkout) == 2


def test_failed_install_is_tried_again(checkout: Path) -> None:
    python = checkout / ".venv/bin/python"
    works = python.read_text()
    program(python, 'case "$*" in *pip*) exit 1;; esac')
    assert use_venv(checkout).returncode == 1

    python.write_text(works)
    assert use_venv(checkout).returncode == 0
    assert installs(checkout) == 1


def test_extras_that_are_there_are_not_installed_again(checkout: Path) -> None:
    use_venv(checkout, "dev,demo")
    use_venv(checkout, "demo")
    use_venv(checkout, "dev")
    assert installs(checkout) == 1

    use_venv(checkout, "dev,s3")
    assert installs(checkout) == 2
