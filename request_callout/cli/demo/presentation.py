"""How a scenario is shown in a terminal, or in plain text when the output goes elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from request_callout.cli.demo.promises import Answer, Promise, Run
from request_callout.cli.demo.scenarios import Scenario
from request_callout.cli.demo.services import Arrival

_BAR_CELLS = 24
_SHOWN_HEADERS = ("host", "authorization", "content-type", "user-agent", "x-forwarded-path", "x-kong-request-id")
_MAX_ANSWER_LINES = 40


class Presentation:
    """Writes scenarios to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def scenario(self, number: int, scenario: Scenario, proxy: str, run: Run) -> list[Promise]:
        """Show one scenario with all that happened; gives back what was promised and whether it was so."""
        console = self._console
        console.rule(Text(f"{number}. {scenario.title}", style="bold"), align="left")
        console.print(Text(f"from {scenario.document}; as a file: examples/{scenario.example}/kong.yml", style="dim"))
        if scenario.note:
            console.print(Text(scenario.note))
        for path in scenario.plugins:
            self._heading(f"configuration of {path}")
            self._code(scenario.configuration(path, run.addresses).rstrip(), "yaml")
        self._heading("request and answer")
        for path, answer in zip(scenario.paths, run.answers, strict=True):
            url = f"{proxy}{path}"
            self._code(f"$ curl {url!r}" if "&" in url else f"$ curl {url}", "console")
            self._answer(answer)
        self._heading("what the upstream got")
        if not run.upstream:
            self._line("nothing: the plugin answered the client itself")
        for number_of_arrival, arrival in enumerate(run.upstream):
            if number_of_arrival:
                console.print()
            self._arrival(arrival)
        self._heading("the callouts in time")
        self._timeline((*run.callees, *run.upstream))
        self._heading("what the document promises")
        kept = list(scenario.check(run))
        for promise, holds in kept:
            self._line(("ok      " if holds else "FAILED  ") + promise, style="green" if holds else "bold red")
        console.print()
        return kept

    def summary(self, results: Sequence[tuple[Scenario, list[Promise]]]) -> None:
        """One line for each scenario."""
        self._console.rule(Text("All scenarios", style="bold"), align="left")
        for number, (scenario, kept) in enumerate(results, 1):
            broken = [promise for promise, holds in kept if not holds]
            verdict = "FAILED" if broken else "ok"
            text = f"{number}. {verdict:6}  {scenario.title}"
            self._line("; ".join([text, *broken]), style="bold red" if broken else "green")

    def _heading(self, text: str) -> None:
        self._console.print(Text(f"\n{text}", style="bold cyan"))

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Padding.indent(Text(text, style=style), 2))

    def _code(self, text: str, language: str) -> None:
        if self._console.is_terminal:
            shown = Syntax(text, language, background_color="default", word_wrap=True)
            self._console.print(Padding.indent(shown, 2))
        else:
            # No wrapping and no padding at the right: what is written to a file can be copied from it.
            for line in text.splitlines():
                self._console.print(Text(f"  {line}"), soft_wrap=True)

    def _answer(self, answer: Answer) -> None:
        self._line(f"{answer.status} {answer.content_type}")
        decoded = answer.json
        if decoded is None:
            self._code(answer.body.decode("utf-8", "replace"), "text")
            return
        lines = orjson.dumps(decoded, option=orjson.OPT_INDENT_2).decode().splitlines()
        if len(lines) > _MAX_ANSWER_LINES:
            lines = [*lines[:_MAX_ANSWER_LINES], "..."]
        self._code("\n".join(lines), "json")

    def _arrival(self, arrival: Arrival) -> None:
        lines = [f"{arrival.method} {arrival.target}"]
        lines += [f"{name}: {value}" for name, value in arrival.headers if name.lower() in _SHOWN_HEADERS]
        if arrival.body:
            lines += ["", arrival.body.decode("utf-8", "replace")]
        self._code("\n".join(lines), "http")

    def _timeline(self, arrivals: Sequence[Arrival]) -> None:
        if not arrivals:
            self._line("no calls")
            return
        first_s = min(arrival.started_s for arrival in arrivals)
        span_s = max(max(arrival.ended_s for arrival in arrivals) - first_s, 0.001)
        table = Table(box=None, show_header=False, pad_edge=False)
        for justify in ("right", "left", "right", "left", "left"):
            table.add_column(justify=justify, no_wrap=True)
        for arrival in sorted(arrivals, key=lambda one: one.started_s):
            begin = round((arrival.started_s - first_s) / span_s * (_BAR_CELLS - 1))
            end = max(begin + 1, round((arrival.ended_s - first_s) / span_s * _BAR_CELLS))
            target = arrival.target if len(arrival.target) <= 28 else arrival.target[:25] + "..."
            table.add_row(
                Text(f"{(arrival.started_s - first_s) * 1000:.0f} ms", style="dim"),
                Text(f"|{' ' * begin}{'=' * (end - begin)}{' ' * (_BAR_CELLS - end)}|", style="blue"),
                Text(f"{(arrival.ended_s - arrival.started_s) * 1000:.0f} ms"),
                Text(str(arrival.status)),
                Text(f"{arrival.service}: {arrival.method} {target}"),
            )
        self._console.print(Padding.indent(table, 2))
