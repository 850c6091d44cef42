"""The page of ``explain --html`` as a browser shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from request_callout.cli import main
from tests.browser.chromium import Chromium, png_size
from tests.browser.conftest import IMAGES

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "tests" / "unit" / "cli" / "explain" / "shop.yml"
HOSTILE = ROOT / "tests" / "unit" / "cli" / "explain" / "hostile.yml"
FILES = [
    SHOP,
    HOSTILE,
    *(ROOT / "examples" / name / "kong.yml" for name in ("token-injection", "orchestration", "fan-out", "header-echo")),
]
WIDTH, HEIGHT = 1100, 1000
MOST_BYTES = 200 * 1024


def page(file: Path, folder: Path) -> str:
    """The URL of the page for a file."""
    html = folder / "page.html"
    result = CliRunner().invoke(main, ["explain", str(file), "--html", str(html)])
    assert result.exit_code == 0, result.output
    return html.as_uri()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name if file.name == "kong.yml" else file.stem)
@pytest.mark.parametrize("width", [375, 1100])
def test_the_page_fits_and_is_quiet(chromium: Chromium, file: Path, width: int, tmp_path: Path) -> None:
    """No page is wider than its window, complains of anything, or asks for anything but itself."""
    url = page(file, tmp_path)
    chromium.open(url, width=width, height=800)
    assert chromium.overflow() <= 0
    assert chromium.messages() == []
    assert chromium.requests() == [url]


def test_what_is_hostile_does_nothing(chromium: Chromium, tmp_path: Path) -> None:
    """Names and values that are markup are texts on the page: there is no script and no picture in it."""
    chromium.open(page(HOSTILE, tmp_path))
    assert chromium.run("return document.querySelectorAll('script, img, iframe, object, link, style').length") == 1
    assert chromium.run("return window.broken") is None
    assert "<img src=x onerror=window.broken=1>" in chromium.run("return document.querySelector('h4').textContent")


@pytest.mark.parametrize(("width", "shown"), [(375, "narrow"), (1100, "wide")])
def test_the_picture_is_one_for_the_window(chromium: Chromium, width: int, shown: str, tmp_path: Path) -> None:
    """One of the two pictures is seen, with a box for each callout, and with a title and a description."""
    chromium.open(page(SHOP, tmp_path), width=width)
    visible = "[...document.querySelectorAll('svg.plan')].filter(one => one.getBoundingClientRect().width > 0)"
    assert chromium.run(f"return {visible}.map(one => one.parentElement.className)") == [shown]
    assert chromium.run(f"return {visible}[0].querySelectorAll('.step').length") == 5
    label = (
        f"{visible}[0].getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent)"
    )
    title, description = chromium.run(f"return {label}")
    assert title == "The plan of route checkout (/checkout), service shop"
    assert "prices waits for customer, stock." in description


def test_texts_stay_in_their_boxes(chromium: Chromium, tmp_path: Path) -> None:
    """No line of a box is longer than the box."""
    chromium.open(page(SHOP, tmp_path))
    script = """
        const boxes = [...document.querySelectorAll('.wide .step')];
        return boxes.flatMap(box => {
            const edge = box.querySelector('rect').getBoundingClientRect();
            return [...box.querySelectorAll('text')]
                .filter(line => line.getBoundingClientRect().right > edge.right - 2);
        }).map(line => line.textContent);
    """
    assert chromium.run(script) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(chromium: Chromium, scheme: str, tmp_path: Path) -> None:
    """Every text has a contrast of 4.5 to its background (WCAG 2.1, 1.4.3), light and dark."""
    chromium.open(page(SHOP, tmp_path), scheme="dark" if scheme == "dark" else "light")
    assert chromium.faint_texts() == []


def test_the_documents_have_a_picture_of_it(chromium: Chromium, screenshots: Path, tmp_path: Path) -> None:
    """A screenshot of today's page is a PNG of the right size; the one in docs/images is such a one, and small."""
    chromium.open(page(SHOP, tmp_path), width=WIDTH, height=HEIGHT)
    file = screenshots / "explain.png"
    chromium.screenshot(file)
    for one in (file, IMAGES / "explain.png"):
        assert png_size(one) == (WIDTH, HEIGHT)
        assert one.stat().st_size < MOST_BYTES
