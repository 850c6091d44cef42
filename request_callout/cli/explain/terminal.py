"""The explanation in a terminal, or as plain text where the output goes elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from request_callout.cli.explain.explanation import Callout, Explanation
from request_callout.cli.explain.timing import seconds
from request_callout.cli.explain.wording import Fact, end, facts, marks, waits_in_short, whole
from request_callout.values import printable

_LABEL_WIDTH = 16


def show(explanations: Sequence[Explanation], console: Console) -> None:
    """Write all of them."""
    with console.capture() as captured:
        for number, explanation in enumerate(explanations):
            if number:
                console.print()
            _one(explanation, console)
    # No blanks at the ends of lines: they are in the way of whoever copies or compares.
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    console.file.write(text + "\n")


def _one(explanation: Explanation, console: Console) -> None:
    console.rule(Text(explanation.place, style="bold"), align="left", characters="─")
    console.print(Text(explanation.path, style="dim"))
    console.print()
    _picture(explanation, console)
    for callout in explanation.callouts:
        console.print()
        _heading(callout, console)
        _facts(facts(callout), console)
    console.print()
    console.print(Text("In the end", style="bold"))
    _facts([*end(explanation), *whole(explanation)], console)
    console.print()
    _warnings(explanation, console)


def _picture(explanation: Explanation, console: Console) -> None:
    """The levels one below the other: what stands beside each other runs side by side."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(3):
        grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("  ", Text("●", style="cyan"), "the client's request", "")
    for level, longest_ms in enumerate(explanation.whole.levels_ms):
        here = [callout for callout in explanation.callouts if callout.level == level]
        for place, callout in enumerate(here):
            last = place == len(here) - 1
            arm = "├─" if len(here) == 1 else "├┬" if not place else "│└" if last else "│├"
            text = Text(callout.name, style="bold")
            waits = waits_in_short(callout)
            about = Text(f"after {waits}" if waits else "at once", style="" if waits else "dim")
            if marked := marks(callout):
                about.append(f"   [{', '.join(marked)}]", style="dim")
            time = seconds(longest_ms) if not place else ""
            grid.add_row(Text(f"  {time}", style="dim"), Text(arm, style="cyan"), text, about)
    answer = explanation.upstream.answers is not None and explanation.upstream.answers_when is None
    grid.add_row("", Text("●", style="cyan"), "the answer to the client" if answer else "the upstream request", "")
    console.print(grid)


def _heading(callout: Callout, console: Console) -> None:
    text = Text(callout.name, style="bold")
    text.append(f"  {callout.sends.method} {callout.sends.url}", style="cyan")
    console.print(text)


def _facts(found: Sequence[Fact], console: Console) -> None:
    text = Text()
    for label, lines in found:
        wrapped = [one for line in lines for one in _wrapped(line, console, 2 + _LABEL_WIDTH + 1)]
        for place, line in enumerate(wrapped):
            text.append(f"  {'' if place else label:{_LABEL_WIDTH}} ", style="dim").append(f"{line}\n")
    console.print(text, end="", soft_wrap=True)


def _wrapped(text: str, console: Console, indent: int) -> list[str]:
    """A text in lines that are so short that they can be indented."""
    shown = printable(text)
    width = max(console.width - indent, 1)
    if len(shown) <= width and shown.isascii():
        return [shown]
    return [line.plain for line in Text(shown).wrap(console, width, overflow="fold")]


def _warnings(explanation: Explanation, console: Console) -> None:
    if not explanation.warnings:
        console.print(Text("No warnings.", style="green"))
        return
    console.print(Text("Warnings and advice", style="bold"))
    for warning in explanation.warnings:
        is_warning = warning.level == "warning"
        style = "bold yellow" if is_warning else "blue"
        text = Text("! " if is_warning else "· ", style=style)
        line = f"line {warning.line}: " if warning.line is not None else ""
        where = warning.path.removeprefix(explanation.path).lstrip(".")
        text.append(printable(f"{line}{where} [{warning.code}]"), style=style)
        console.print(Padding.indent(text, 2))
        told = Text()
        for sentence, shade in (
            (f"{warning.message[:1].upper()}{warning.message[1:]}.", ""),
            (f"Remedy: {warning.remedy}", "dim"),
        ):
            told.append("".join(f"    {line}\n" for line in _wrapped(sentence, console, 4)), style=shade)
        console.print(told, end="", soft_wrap=True)
