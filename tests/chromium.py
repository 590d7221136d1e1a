"""A headless Chromium that tests drive: the DevTools protocol over a pipe, with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 20.0  # seconds for one answer


def found() -> str | None:
    """The browser: AUGAWARE_CHROMIUM, or one of the usual names."""
    named = os.environ.get("AUGAWARE_CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser with one tab. ``events`` keeps what the tab reports: messages, requests, dialogs, violations."""

    def __init__(self, home: Path) -> None:
        program = found()
        assert program is not None
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()

        def pipes() -> None:  # the browser reads commands from 3 and writes answers to 4
            spare = os.dup(theirs_out), os.dup(theirs_in)
            os.dup2(spare[1], 3)
            os.dup2(spare[0], 4)

        options = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        options += ["--hide-scrollbars", "--disable-dev-shm-usage", "--disable-background-networking"]
        self._process = subprocess.Popen(
            [program, *options, f"--user-data-dir={home}"],
            preexec_fn=pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._left, self._number, self._session = b"", 0, ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One command; its result. Raises RuntimeError for what the browser refuses, TimeoutError for silence."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            self._left += os.read(self._in, 1 << 20)
        text, _, self._left = self._left.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        if "method" in answer:
            self.events.append((answer["method"], answer["params"]))
        return answer

    def wait(self, method: str, **expected: Any) -> dict[str, Any]:
        """The first event of this kind since the page was opened that says what is ``expected``."""
        until, seen = time.monotonic() + PATIENCE, 0
        while True:
            for name, params in self.events[seen:]:
                if name == method and all(params.get(key) == value for key, value in expected.items()):
                    return params
            seen = len(self.events)
            self._next(until)

    def open(self, page: Path, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Load a file in a window of this size, in the ``light`` or ``dark`` scheme; earlier events are forgotten."""
        self.look(width, height, scheme)
        self.events.clear()
        self.call("Page.navigate", url=page.absolute().as_uri())
        self.wait("Page.loadEventFired")

    def look(self, width: int, height: int, scheme: str) -> None:
        """Another window or colour scheme for the page as it is."""
        small = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=small)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def key(self, name: str, text: str = "") -> None:
        """Press a key, such as Tab, Enter or " "."""
        code = {"Tab": 9, "Enter": 13, " ": 32}[name]
        known = {"key": name, "code": {" ": "Space"}.get(name, name), "windowsVirtualKeyCode": code}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", text=text or {"Enter": "\r", " ": " "}.get(name, ""), **known
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def picture(self, out: Path, top: int = 0, height: int = 900) -> None:
        """A part of the page as PNG."""
        width = self.run("document.documentElement.clientWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        out.write_bytes(base64.b64decode(shot["data"]))
