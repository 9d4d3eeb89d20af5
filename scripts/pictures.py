"""Take pictures of the pages that scripts/demo made: one of the report, one of its plots."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from tests import browser
from tests.browser import Page


def save(page: Page, target: Path, *, height: int) -> None:
    """The top of a page down to `height`, once its charts are drawn."""
    page.wait("document.querySelectorAll('.chart svg, .chart canvas').length === 2")
    clip = {"x": 0, "y": 0, "width": page.run("innerWidth"), "height": height, "scale": 1}
    answer = page.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(answer["data"]))
    print(f"{target}: {target.stat().st_size:,} B")


def main(pages: Path, target: Path) -> None:
    with browser.started(pages / "profile") as started:
        save(started.open(pages / "report.html", 840), target / "report.png", height=530)
        save(started.open(pages / "plots.html", 1120), target / "plots.png", height=560)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
