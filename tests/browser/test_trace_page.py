"""The page of traces, in a browser, over a gateway, a plugin server with two workers, and services that answer."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from request_callout.cli.demo.process import GatewayProcess
from tests.browser.chromium import Chromium
from tests.conformance import client
from tests.conformance.callee import Callee, Reply, reply_json

SECRET = "a-debug-secret-of-the-browser-test"
PLANTED = [f"planted-{number}-5c1e" for number in range(6)]
HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
PATIENCE_S = 20


@pytest.fixture
def callee() -> Iterator[Callee]:
    """Services for users, stock and prices; the stock's fails at first."""
    callee = Callee(reply_json({"ok": True}))
    user = {"id": 7, "name": HOSTILE, "password": PLANTED[0], "tier": "gold"}
    slow = threading.Event()  # never set: how long each takes
    callee.on(
        "/users/7",
        reply_json(
            user, hold=lambda: slow.wait(0.03), headers=(("Set-Cookie", f"sid={PLANTED[1]}"), ("X-Hostile", HOSTILE))
        ),
    )
    stock = reply_json({"items": [{"sku": "A-1", "left": 3}]}, hold=lambda: slow.wait(0.05))
    callee.on("/stock", stock, Reply(503, b"starting", hold=lambda: slow.wait(0.02)), stock)
    prices = {"A-1": 19.9, "said": f"Bearer {PLANTED[2]}"}
    callee.on("/prices/gold", reply_json(prices, hold=lambda: slow.wait(0.04)))
    yield callee
    callee.close()


def declaration(callee: Callee) -> str:
    errors = {"on_error": "retry", "retries": 2, "http_statuses": [503]}
    callouts = [
        {
            "name": "user",
            "request": {"url": f"{callee.url}/users/7?token={PLANTED[3]}", "headers": {"forward": True}},
            "response": {"body": {"decode": True}},
        },
        {"name": "stock", "request": {"url": f"{callee.url}/stock", "error": errors}},
        {"name": "prices", "request": {"url": f"{callee.url}/prices/$(callouts.user.response.body.tier)"}},
        {"name": "audit", "when": "$(false)", "request": {"url": f"{callee.url}/audit"}},
    ]
    upstream = {"headers": {"custom": {"X-Tier": "$(callouts.user.response.body.tier)", "X-Api-Key": PLANTED[4]}}}
    plugin = {"name": "request-callout", "config": {"callouts": callouts, "upstream": upstream}}
    route = {"name": "orders", "paths": ["/orders"], "plugins": [plugin]}
    service = {"name": "shop", "url": f"{callee.url}/shop", "routes": [route]}
    return yaml.safe_dump({"_format_version": "3.0", "services": [service]})


@pytest.fixture
def ask(callee: Callee, tmp_path: Path) -> Iterator[Callable[..., client.Answer]]:
    """Sends a traced request through the gateway."""
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "kong.yml").write_text(declaration(callee))
    options = [f"--debug-secret-file={tmp_path / 'secret'}", f"--trace-socket={tmp_path / 'trace'}", "--workers=2"]
    with GatewayProcess(tmp_path / "kong.yml", [f"--serve-option={option}" for option in options]) as gateway:

        def send(path: str = "/orders", secret: str = SECRET) -> client.Answer:
            given = {"X-Callout-Debug": secret, "Authorization": f"Bearer {PLANTED[2]}", "Cookie": f"a={PLANTED[5]}"}
            return client.request(gateway.proxy + path, headers=given)

        yield send


@pytest.fixture
def page(ask: Callable[..., client.Answer], tmp_path: Path) -> Iterator[str]:
    """The address of the page."""
    with served(tmp_path / "trace") as url:
        yield url


@contextmanager
def served(socket: Path) -> Iterator[str]:
    """The address of the page that shows the traces of this socket."""
    command = [sys.executable, "-m", "request_callout", "trace", "--socket", str(socket)]
    process = subprocess.Popen([*command, "--serve", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    watch = threading.Timer(PATIENCE_S, process.kill)
    watch.start()
    line = process.stdout.readline()
    watch.cancel()
    assert line.startswith("Traces at http://127.0.0.1:"), line
    yield line.split()[2]
    process.terminate()
    process.wait(PATIENCE_S)
    process.stdout.close()


def wait(chromium: Chromium, selector: str, number: int = 1) -> list[WebElement]:
    """Wait until there are so many of these elements."""

    def there(_: object) -> list[WebElement] | bool:
        found = chromium.driver.find_elements(By.CSS_SELECTOR, selector)
        return found if len(found) >= number else False

    found = WebDriverWait(chromium.driver, PATIENCE_S, 0.05).until(there)
    assert isinstance(found, list)
    return found


def title(chromium: Chromium) -> object:
    """Which request is shown."""
    return chromium.run("return document.querySelector('.title strong')?.textContent")


def test_a_traced_request_on_the_page(chromium: Chromium, page: str, ask: Callable[..., client.Answer]) -> None:
    """The page shows requests as they come, with bars in time, and details without secrets or foreign markup."""
    chromium.open(page, width=1400, height=1050)
    wait(chromium, "#none code")
    assert ask("/orders", "another-secret-of-enough-length").header("Server-Timing") is None
    for path in ("/orders/1", "/orders/2"):
        assert "stock" in (ask(path).header("Server-Timing") or "")

    # The list fills without a reload, and the newest is shown once there was none.
    entries = wait(chromium, "#list button", 2)
    assert [entry.find_element(By.CSS_SELECTOR, ".path").text for entry in entries] == [
        "GET /orders/2",
        "GET /orders/1",
    ]
    entries[1].click()
    WebDriverWait(chromium.driver, PATIENCE_S, 0.05).until(lambda _: title(chromium) == "GET /orders/1")

    # The bars stand in time: user and stock side by side, prices after user, the skipped one without an attempt.
    rows = {row.get_attribute("data-callout"): row for row in wait(chromium, ".callout", 4)}
    assert set(rows) == {"user", "stock", "prices", "audit"}
    bars = {name: row.find_elements(By.CSS_SELECTOR, ".attempt") for name, row in rows.items()}
    assert {name: len(found) for name, found in bars.items()} == {"user": 1, "stock": 2, "prices": 1, "audit": 0}
    assert "bad" in (bars["stock"][0].get_attribute("class") or "")
    assert "ok" in (bars["stock"][1].get_attribute("class") or "")
    user, prices = bars["user"][0].rect, bars["prices"][0].rect
    assert prices["x"] >= user["x"] + user["width"] - 1
    assert bars["stock"][0].rect["x"] < bars["stock"][1].rect["x"]
    assert "skipped" in rows["audit"].text

    # A click opens the requests and responses of a callout.
    rows["user"].click()
    details = wait(chromium, ".more:not([hidden]) .message", 2)
    assert "/users/7?token" in details[0].text
    assert "status 200" in details[1].text
    assert "gold" in details[1].text

    # What others have sent is text, and what is secret is not there.
    for row in (rows["stock"], rows["prices"]):
        row.click()
    seen = chromium.driver.find_element(By.ID, "trace").text
    assert HOSTILE in seen
    assert chromium.driver.title == "GET /orders/1 · Traces"
    assert chromium.driver.find_elements(By.CSS_SELECTOR, "#trace img, #trace script") == []
    source = chromium.driver.page_source + str(chromium.run("return JSON.stringify(traces)"))
    assert [secret for secret in [*PLANTED, SECRET] if secret in source] == []
    assert "X-Tier" in seen
    assert "gold" in seen
    assert chromium.messages() == []
    assert [url for url in chromium.requests() if not url.startswith(page)] == []
    assert chromium.overflow() <= 0

    # The plan and the list's filter.
    assert [text.text for text in chromium.driver.find_elements(By.CSS_SELECTOR, ".plan svg text")] == [
        *("user", "stock", "prices", "audit")
    ]
    chromium.driver.find_element(By.ID, "filter").send_keys("orders/2")
    assert [entry.is_displayed() for entry in chromium.driver.find_elements(By.CSS_SELECTOR, "#list li")] == [
        True,
        False,
    ]


def test_new_traces_do_not_take_the_place_of_the_shown_one(
    chromium: Chromium, page: str, ask: Callable[..., client.Answer]
) -> None:
    """A trace that is shown stays where it is while new ones arrive."""
    ask("/orders/1")
    chromium.open(page, width=1400, height=1050)
    wait(chromium, ".callout", 4)
    ask("/orders/2")
    wait(chromium, "#list button", 2)
    assert title(chromium) == "GET /orders/1"
    assert chromium.driver.find_element(By.ID, "live").text == "live"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(
    chromium: Chromium, page: str, ask: Callable[..., client.Answer], scheme: str
) -> None:
    """Every text has the contrast that WCAG wants, light and dark, those of results and of hidden secrets too."""
    ask("/orders/1")
    chromium.open(page, width=1400, height=1050, scheme="dark" if scheme == "dark" else "light")
    for row in wait(chromium, ".callout", 4)[:3]:
        row.click()
    wait(chromium, ".more:not([hidden]) .gone")
    wait(chromium, "#trace .chip", 4)
    assert chromium.faint_texts() == []


def test_the_page_fits_a_phone(chromium: Chromium, page: str, ask: Callable[..., client.Answer]) -> None:
    """Nothing of a trace is cut off at the right, with requests and responses open."""
    ask("/orders/1")
    chromium.open(page, width=375, height=800)
    for row in wait(chromium, ".callout", 4)[:3]:
        row.click()
    wait(chromium, ".more:not([hidden]) .message", 2)
    assert chromium.overflow() <= 0
    beyond = (
        "[...document.querySelectorAll('#trace *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert chromium.run(f"return {beyond}.map(one => one.outerHTML.slice(0, 80))") == []
