"""A page in headless Chromium, over its debugging pipe: what it loads, what it complains of, how it looks."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT: Final = 60  # seconds for one answer


def find() -> str | None:
    """The browser's program, if there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """One page in a tab. `problems` has what its console complained of, `requests` what it asked for beside itself."""

    def __init__(self, browser: Browser, session: str, url: str) -> None:
        self._browser, self._session, self._url = browser, session, url

    @property
    def problems(self) -> list[str]:
        return self._browser.problems[self._session]

    @property
    def requests(self) -> list[str]:
        return [each for each in self._browser.requests[self._session] if each.partition("#")[0] != self._url]

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, of a promise once it is there."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        self.run(
            f"new Promise((done) => {{ const look = () => ({condition}) ? done() : setTimeout(look, 20); look(); }})"
        )

    def move(self, x: float, y: float) -> None:
        """The pointer to this place, in CSS pixels."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **params)


class Browser:
    """The browser's end of the pipe (https://chromedevtools.github.io/devtools-protocol/)."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = os.fdopen(reads, "rb", buffering=0), os.fdopen(writes, "wb", buffering=0)
        self._ids = itertools.count(1)
        self._buffer = b""
        self.problems: dict[str, list[str]] = {}
        self.requests: dict[str, list[str]] = {}

    def open(self, path: Path, width: int = 1280, *, dark: bool = False) -> Page:
        """A file in a tab of its own, once it is loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.problems[session], self.requests[session] = [], []
        page = Page(self, session, path.as_uri())
        for domain in ("Runtime", "Log", "Network", "Page"):
            page.ask(f"{domain}.enable")
        page.size(width, dark=dark)
        page.ask("Page.navigate", url=path.as_uri())
        page.wait(f"location.href.startsWith({json.dumps(path.as_uri())}) && document.readyState === 'complete'")
        return page

    def ask(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self._writes.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = self._reads.read(1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        session, params = event.get("sessionId"), event.get("params", {})
        if session not in self.problems:
            return
        match event["method"]:
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.problems[session].append(str([each.get("value", each) for each in params["args"]]))
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.problems[session].append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.problems[session].append(params["entry"]["text"])
            case "Network.requestWillBeSent" if not params["request"]["url"].startswith("data:"):
                self.requests[session].append(params["request"]["url"])


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile, ended at the end."""
    program = find()
    assert program is not None
    to_read, to_write = os.pipe(), os.pipe()
    options = [
        "--headless=new",
        "--remote-debugging-pipe",
        "--no-sandbox",  # which root cannot have
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ]
    # It reads from descriptor 3 and writes to 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{to_read[0]} 4>&{to_write[1]}', "browser", program, *options]
    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            shell, pass_fds=(to_read[0], to_write[1]), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    os.close(to_read[0])
    os.close(to_write[1])
    browser = Browser(to_write[0], to_read[1])
    try:
        yield browser
    finally:
        try:
            browser.ask("Browser.close")
            process.wait(TIMEOUT)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
