"""The explanation as one page of HTML that needs nothing else: no script, no font, no picture from anywhere.

Its policy (CSP) allows its own style sheet by its digest and nothing more, so that a text that got through the
escaping could do no harm.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from typing import Any

from request_callout import __version__
from request_callout.cli.explain.explanation import Callout, Explanation, Warning
from request_callout.cli.explain.graph import STYLE, plan_svg
from request_callout.cli.explain.timing import seconds
from request_callout.cli.explain.wording import Fact, end, facts, marks, whole
from request_callout.values import printable

_COLUMNS = 3


def page(title: str, explanations: Sequence[Explanation]) -> str:
    """The page for one file, whose name is its title."""
    style = resources.files("request_callout.cli.explain").joinpath("page.css").read_text(encoding="utf-8") + STYLE
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    sections = "".join(_section(number, one) for number, one in enumerate(explanations, 1))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)} - request-callout</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<div class="all">\n<header><p class="quiet small">request-callout: what this configuration will do</p>'
        f"<h1>{_text(title)}</h1>{_navigation(explanations)}</header>\n<main>{sections}</main>\n"
        f"<footer>Made by request-callout {_text(__version__)}. Nothing was called. Constants that may be secrets are "
        f"shown as ***.</footer>\n</div>\n</body>\n</html>\n"
    )


def _navigation(explanations: Sequence[Explanation]) -> str:
    if len(explanations) < 2:
        return ""
    links = (
        f'<li><a href="#configuration-{number}">{_text(one.place)}</a></li>'
        for number, one in enumerate(explanations, 1)
    )
    return f'<nav aria-label="Configurations"><ul>{"".join(links)}</ul></nav>'


def _section(number: int, one: Explanation) -> str:
    ident = f"configuration-{number}"
    callouts = "".join(_callout(callout) for callout in one.callouts)
    return (
        f'\n<section id="{ident}" aria-labelledby="{ident}-h"><h2 id="{ident}-h">{_text(one.place)}</h2>'
        f'<p class="small quiet"><code>{_text(one.path)}</code></p>{_figures(one)}{_pictures(one, ident)}'
        f"<h3>Warnings and advice</h3>{_warnings(one)}"
        f"{'<h3>Callouts</h3>' if callouts else ''}{callouts}"
        f"<h3>In the end</h3>{_table([*end(one), *whole(one)])}</section>"
    )


def _figures(one: Explanation) -> str:
    warnings = sum(warning.level == "warning" for warning in one.warnings)
    advice = len(one.warnings) - warnings
    longest = "by the deadline" if one.whole.ends_by_deadline else " → ".join(one.whole.critical_path)
    levels = len(one.whole.levels_ms)
    figures = [
        ("Callouts", str(len(one.callouts)), f"in {levels} step{'s' if levels != 1 else ''}" if levels else ""),
        ("At most", seconds(one.whole.longest_ms), longest),
        ("Warnings", str(warnings), f"and {advice} piece{'s' if advice > 1 else ''} of advice" if advice else ""),
        ("The client gets", _end_in_short(one), ""),
    ]
    cells = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}{f'<small>{_text(more)}</small>' if more else ''}</dd></div>"
        for name, value, more in figures
    )
    return f'<dl class="figures">{cells}</dl>'


def _end_in_short(one: Explanation) -> str:
    if one.upstream.answers is None:
        return "the upstream's answer"
    return "an answer from here" if one.upstream.answers_when is None else "one of two answers"


def _pictures(one: Explanation, ident: str) -> str:
    """The plan twice: beside each other where there is room, below each other on a phone."""
    if not one.callouts:
        return ""
    steps = [_step(callout) for callout in one.callouts]
    answered = one.upstream.answers is not None and one.upstream.answers_when is None
    last = "the answer to the client" if answered else "the upstream request"
    title, levels = f"The plan of {one.place}", _levels(one)
    wide = plan_svg(steps, title=title, end=last, levels=levels, columns=_COLUMNS, ident=f"{ident}-wide")
    narrow = plan_svg(steps, title=title, end=last, levels=levels, columns=1, ident=f"{ident}-narrow")
    caption = "Time goes from top to bottom; what is in one band runs side by side."
    if any(callout.waits_for for callout in one.callouts):
        caption += " Solid blue: a result is used. Dotted: only the order counts."
    return (
        f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _levels(one: Explanation) -> list[str]:
    """What to say of each level: how many callouts it has, and how long they take at most."""
    labels = []
    for level, longest_ms in enumerate(one.whole.levels_ms):
        count = sum(callout.level == level for callout in one.callouts)
        together = f"{count} side by side, " if count > 1 else ""
        labels.append(f"{together}at most {seconds(min(longest_ms, one.whole.deadline_ms))}")
    return labels


def _step(callout: Callout) -> dict[str, Any]:
    """A step for the picture."""
    lines = [f"{callout.sends.method} {_short_url(callout.sends.url)}"]
    if marked := marks(callout):
        lines.append(", ".join(marked))
    return {
        "name": callout.name,
        "level": callout.level,
        "waits_for": [asdict(wait) for wait in callout.waits_for],
        "lines": lines,
    }


def _short_url(url: str) -> str:
    return url.partition("://")[2] if url.startswith(("http://", "https://")) else url


def _warnings(one: Explanation) -> str:
    if not one.warnings:
        return '<p class="fine">No warnings.</p>'
    return f'<ul class="found">{"".join(_warning(warning, one) for warning in one.warnings)}</ul>'


def _warning(warning: Warning, one: Explanation) -> str:
    where = warning.path.removeprefix(one.path).lstrip(".")
    line = f"line {warning.line}: " if warning.line is not None else ""
    return (
        f'<li class="{warning.level}"><p><strong>{warning.level.capitalize()}:</strong> {_text(warning.message)}.</p>'
        f'<p class="small">Remedy: {_text(warning.remedy)}</p>'
        f'<p class="small quiet">{line}<code>{_text(where)}</code></p></li>'
    )


def _callout(callout: Callout) -> str:
    marked = "".join(f'<span class="mark">{_text(mark)}</span>' for mark in marks(callout))
    method, url = _text(callout.sends.method), _text(callout.sends.url)
    return (
        f"<article><header><h4>{_text(callout.name)}</h4>{marked}</header>"
        f'<p class="request code"><span class="method">{method}</span> {url}</p>'
        f"{_table(facts(callout))}</article>"
    )


def _table(found: Sequence[Fact]) -> str:
    return f"<table><tbody>{''.join(_rows(found))}</tbody></table>"


def _rows(found: Sequence[Fact]) -> Iterator[str]:
    for label, lines in found:
        cells = "".join(f"<p>{_text(line)}</p>" for line in lines)
        yield f'<tr><th scope="row">{_text(label)}</th><td>{cells}</td></tr>'


def _text(text: str) -> str:
    """A text for HTML: nothing in it is markup, turns what follows it around or can't be in a file."""
    return escape(printable(text))
