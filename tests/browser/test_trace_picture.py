"""The picture of the page of traces in the documentation: requests of a shop, as they could be on any day."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from request_callout.cli.demo.process import GatewayProcess
from tests.browser.chromium import Chromium, png_size
from tests.browser.conftest import IMAGES
from tests.browser.test_trace_page import PATIENCE_S, served, title, wait
from tests.conformance import client
from tests.conformance.callee import Callee, Reply, reply_json

SECRET = "a-debug-secret-of-the-picture"
WIDTH, HEIGHT = 1400, 1050
MOST_BYTES = 200 * 1024


@pytest.fixture
def shop() -> Iterator[Callee]:
    """The services of a shop behind one proxy, so that each can have a name; the stock's fails at times."""
    shop = Callee(reply_json({"status": "ok"}))
    slow = threading.Event()  # never set: how long each takes

    def after(seconds: float, value: object) -> Reply:
        return reply_json(value, hold=lambda: slow.wait(seconds))

    user = {"id": 7, "name": "Ida Lund", "tier": "gold", "token": "dGhpcyBpcyBub3Qgb25l"}
    shop.on("http://users.internal/users/7", after(0.031, user))
    stock = after(0.024, {"items": [{"sku": "A-1041", "left": 3}, {"sku": "B-2207", "left": 0}]})
    unavailable = Reply(503, b"try again", (("Content-Type", "text/plain"),), lambda: slow.wait(0.012))
    shop.on("http://stock.internal/items", stock, *[unavailable] * 3, unavailable, stock)
    shop.on("http://prices.internal/tiers/gold", after(0.038, {"A-1041": 19.9, "B-2207": 4.5}))
    shop.on("http://currencies.internal/rates", after(0.017, {"EUR": 1, "SEK": 11.3}))
    yield shop
    shop.close()


def declaration(shop: Callee) -> str:
    """A page of an order: who asks, what is left, what it costs; a coupon only if there is one."""

    def callout(name: str, url: str, **more: object) -> dict[str, object]:
        parts: tuple[str, ...] = ("error", "headers")
        of_request = {part: more.pop(part) for part in parts if part in more}
        request: dict[str, object] = {"url": url, "http_opts": {"proxy": {"http_proxy": shop.url}}, **of_request}
        return {
            "name": name,
            "request": request,
            "response": {"body": {"decode": True}},
            "cache": {"bypass": True},
            **more,
        }

    backoff = {"initial_ms": 15}
    retry = {"on_error": "retry", "retries": 2, "http_statuses": [503], "backoff": backoff}
    callouts = [
        callout("user", "http://users.internal/users/$(headers.x_user_id)", headers={"forward": True}),
        callout("stock", "http://stock.internal/items", error=retry),
        callout("rates", "http://currencies.internal/rates", cache={"bypass": False}),
        callout("coupon", "http://coupons.internal/$(query_params.coupon)", when="$(query_params.coupon)"),
        callout("prices", "http://prices.internal/tiers/$(callouts.user.response.body.tier)"),
    ]
    upstream = {"headers": {"custom": {"X-Tier": "$(callouts.user.response.body.tier)"}}}
    config = {"callouts": callouts, "upstream": upstream, "cache": {"strategy": "memory"}}
    route = {"name": "orders", "paths": ["/orders"], "plugins": [{"name": "request-callout", "config": config}]}
    return json.dumps(
        {"_format_version": "3.0", "services": [{"name": "shop", "url": f"{shop.url}/shop", "routes": [route]}]}
    )


def test_the_documents_have_a_picture_of_it(
    chromium: Chromium, shop: Callee, screenshots: Path, tmp_path: Path
) -> None:
    """A screenshot of today's page is a PNG of the right size; the one in docs/images is such a one, and small."""
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "kong.json").write_text(declaration(shop))
    options = [f"--debug-secret-file={tmp_path / 'secret'}", f"--trace-socket={tmp_path / 'trace'}"]
    with (
        GatewayProcess(tmp_path / "kong.json", [f"--serve-option={option}" for option in options]) as gateway,
        served(tmp_path / "trace") as url,
    ):
        given = {"X-Callout-Debug": SECRET, "X-User-Id": "7", "Authorization": "Bearer dGhpcyBpcyBub3Qgb25l"}
        statuses = [
            client.request(gateway.proxy + path, headers=given).status
            for path in ("/orders/1040", "/orders/1041", "/orders/1042")
        ]
        assert statuses == [200, 400, 200]
        chromium.open(url, width=WIDTH, height=HEIGHT)
        wait(chromium, "#list button", 3)[0].click()
        WebDriverWait(chromium.driver, PATIENCE_S, 0.05).until(lambda _: title(chromium) == "GET /orders/1042")
        rows = {row.get_attribute("data-callout"): row for row in wait(chromium, ".callout", 5)}
        assert "skipped" in rows["coupon"].text
        assert len(rows["stock"].find_elements(By.CSS_SELECTOR, ".attempt")) == 2
        rows["user"].click()
        wait(chromium, ".more:not([hidden]) .message", 2)
        chromium.run("document.getElementById('trace').scrollTop = 0")
        file = screenshots / "trace.png"
        chromium.screenshot(file)
    for one in (file, IMAGES / "trace.png"):
        assert png_size(one) == (WIDTH, HEIGHT)
        assert one.stat().st_size < MOST_BYTES
