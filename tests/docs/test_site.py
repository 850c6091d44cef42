"""The site is built without a warning, what is generated is up to date, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, text_of


def test_generated_pages_are_up_to_date() -> None:
    """The reference is that of the schema and of the commands, and copies are equal to their files."""
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_site_is_built_and_needs_nothing_else(tmp_path: Path) -> None:
    """Each link between pages leads to a page and a heading, each page is in the navigation, all files are its own."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, str(ROOT / "docs"), str(tmp_path / "site")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    html = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(html) > 20
    loaded = [
        url for text in html.values() for url in re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(.*?)"', text)
    ]
    assert loaded
    assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []


def test_first_page_leads_to_every_page() -> None:
    """Whoever looks for a page finds it in the table of the first page, by what it is for."""
    table = [line for line in text_of("docs/index.md").splitlines() if line.startswith("| ")]
    linked = set(re.findall(r"\]\(([^)#]+)", "\n".join(table)))
    there = {str(Path(page).relative_to("docs")) for page in pages() if page.startswith("docs/")}
    assert linked == there - {"index.md"}


@pytest.mark.parametrize("page", pages())
def test_links_to_files_exist(page: str) -> None:
    """A file that a page links to is there, and the heading too: also where the page is read without the site."""
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{page}: {target}#{anchor}"


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
