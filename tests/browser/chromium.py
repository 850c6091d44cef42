"""Chromium as the tests need it: opens a page at a size, and tells what it complained of and what it asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Names other than this machine's are not even looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)


_FAINT_TEXTS = """
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const pixel = (...colors) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = parts => {
        const [r, g, b] = parts.map(part => part / 255)
            .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = node => {
        const layers = [];
        for (; node; node = node.parentElement) layers.unshift(getComputedStyle(node).backgroundColor);
        return ['white', ...layers];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = [];
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || node.closest('svg, script, style')) continue;
        if (!node.getBoundingClientRect().width) continue;
        const layers = behind(node);
        const [one, other] = [light(pixel(...layers, getComputedStyle(node).color)), light(pixel(...layers))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) faint.push(node.outerHTML.slice(0, 80));
    }
    return faint;
"""


class Chromium:
    """One browser with one page at a time."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    @classmethod
    @contextmanager
    def running(cls, binary: str, driver: str, profile: Path) -> Iterator[Chromium]:
        """Start it with a profile of its own, and end it."""
        options = ChromeOptions()
        options.binary_location = binary
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        chrome = Chrome(options=options, service=Service(driver))
        try:
            yield cls(chrome)
        finally:
            chrome.quit()

    def open(
        self, url: str, *, width: int = 1100, height: int = 900, scheme: Literal["light", "dark"] = "light"
    ) -> None:
        """Open a page in a window of this size (CSS pixels), for somebody who likes it light or dark."""
        self.messages()  # of the page before
        self.requests()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(url)

    def run(self, script: str) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script)

    def faint_texts(self) -> list[str]:
        """Texts with a contrast below 4.5 to what is behind them (WCAG 2.1, 1.4.3), but for those within pictures."""
        return [str(text) for text in self.run(_FAINT_TEXTS)]

    def messages(self) -> list[str]:
        """What the page wrote to the console since the last time: errors, and what its policy refused, are there."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """The URLs that were asked for since the last time, but for those of the browser's own first page."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        events = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [str(one["request"]["url"]) for one in sent if not one["documentURL"].startswith("chrome://")]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.run("return document.documentElement.scrollWidth - window.innerWidth"))

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(found["data"]))


def png_size(file: Path) -> tuple[int, int]:
    """The width and height of a PNG (RFC 2083, section 4.1.1); fails for what is none."""
    head = file.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert head[12:16] == b"IHDR"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
