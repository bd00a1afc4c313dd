# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: dbkeeper.ops contributors
"""A headless Chromium on two pipes: the DevTools protocol with nothing between it and the test.

Everything that a page asks of the network, writes to the console, or throws is kept, so that a test can say: nothing.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_WAIT_SECONDS = 240.0


#: Texts whose contrast with what is behind them is below WCAG AA (4.5, or 3 for large ones).
DIM = """(() => {
  const channels = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return [found[0] * scale, found[1] * scale, found[2] * scale, found.length > 3 ? found[3] : 1];
  };
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color[3] > 0.9) return color;
    }
    return [255, 255, 255, 1];
  };
  const dim = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own || !box.width || box.width < 2 || element.closest('.hidden, script, noscript, .skip, option')) continue;
    const style = getComputedStyle(element);
    const svg = element instanceof SVGElement;
    const front = light(channels(svg ? style.fill : style.color)), back = light(behind(element));
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) {
      dim.push([element.tagName, element.getAttribute('class'), element.textContent.slice(0, 30), ratio.toFixed(2)]);
    }
  }
  return dim;
})()"""


class Browser:
    """One page of one browser."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.errors: list[str] = []

    def begin(self, language: str) -> None:
        """Open an empty page whose reader speaks a language."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setLocaleOverride", locale=language)
        self.ask("Emulation.setTimezoneOverride", timezoneId="UTC")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; what else arrives meanwhile is noted."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        self._write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._writes, data) :]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + _WAIT_SECONDS
        while b"\0" not in self._rest:
            ready, dummy, dummy2 = select.select([self._reads], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise AssertionError("the browser did not answer")
            data = os.read(self._reads, 1 << 20)
            if not data:
                raise AssertionError("the browser ended")
            self._rest += data
        text, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(text))

    def _note(self, event: dict[str, Any]) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled":
            self.errors.append(
                " ".join(str(one.get("value", one.get("description"))) for one in values["args"])
            )
        elif method == "Log.entryAdded":
            self.errors.append(values["entry"]["text"])

    def open(self, path: Path) -> None:
        """Load a file, and wait until its script has drawn it."""
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.until("document.documentElement?.dataset.drawn && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _WAIT_SECONDS
        while not self._is_true(script):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {script}; the page said: {self.errors}")
            time.sleep(0.02)

    def _is_true(self, script: str) -> bool:
        try:
            return bool(self.run(f"Boolean({script})"))
        except AssertionError as error:
            # Asked of the page that was just being left.
            if "context" not in str(error):
                raise
            return False

    def reload(self) -> None:
        """Load the same once more, and wait until the new one has drawn itself: for a moment the old one is there."""
        self.run("window.old = true")
        self.ask("Page.reload")
        self.until(
            "!window.old && document.documentElement?.dataset.drawn && document.readyState === 'complete'"
        )

    def size(self, width: int, height: int) -> None:
        """How large the window is."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str, *, media: str = "") -> None:
        """Dark or light, and as on screen or as printed."""
        self.ask(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot as PNG."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def key(self, name: str) -> None:
        """Press and release a key."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=name,
                code=name,
                windowsVirtualKeyCode=codes[name],
                **({"text": "\r"} if name == "Enter" and kind == "keyDown" else {}),
            )


def program() -> str:
    """The browser's program."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        raise AssertionError(f"none of {', '.join(PROGRAMS)} is installed")
    return found


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the numbers that the browser wants them to have."""
    pair = []
    for end in os.pipe():
        pair.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20))
        os.close(end)
    return pair[0], pair[1]


@contextmanager
def browser(scratch: Path, *, language: str = "en-US") -> Iterator[Browser]:
    """A browser with a profile of its own, ended with the block."""
    profile = scratch / "profile"
    profile.mkdir(parents=True, exist_ok=True)
    to_browser, write = _high_pipe()
    read, from_browser = _high_pipe()
    argv = [
        program(),
        "--headless=new",
        # The tests' namespaces have no room for another sandbox, and the page is our own.
        "--no-sandbox",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        f"--accept-lang={language}",
        f"--lang={language}",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--disable-sync",
        "--force-color-profile=srgb",
        "--hide-scrollbars",
    ]
    # The browser reads from descriptor 3 and writes to 4.
    script = f'exec 3<&{to_browser} 4>&{from_browser} {to_browser}<&- {from_browser}>&-; exec "$@"'
    with (scratch / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *argv],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(profile), "LANG": "C.UTF-8"},
        )
    os.close(to_browser)
    os.close(from_browser)
    page = Browser(read, write)
    try:
        page.begin(language)
        yield page
        page._session = None
        page.ask("Browser.close")
        process.wait(timeout=240)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(read)
        os.close(write)
