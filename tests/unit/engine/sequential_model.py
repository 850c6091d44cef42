"""The simple model that orders are checked against: one call after the other, in plain Python.

It knows nothing of plans, greenlets or Lua: it goes through the callouts in their sequence, evaluates what they read
from a dict, asks the same ``Service`` and adds up how long each call takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

ERROR = 500


@dataclass(frozen=True)
class Service:
    """Answers each path always alike: what it says, after how long, and how often it fails before that."""

    seed: int

    def duration_s(self, path: str) -> float:
        return 1 + self._number(path, "duration") % 5

    def failures(self, path: str) -> int:
        """How many first attempts fail: none for most paths, all for some."""
        return (0, 0, 0, 0, 1, 9)[self._number(path, "failures") % 6]

    def body(self, path: str) -> dict[str, Any]:
        number = self._number(path, "body")
        return {"v": number % 3, "list": list(range(1, 1 + number // 3 % 5))}

    def _number(self, path: str, what: str) -> int:
        return crc32(f"{self.seed} {what} {path}".encode())


@dataclass(frozen=True)
class Step:
    """One callout of the model; ``reads``, ``condition`` and ``source`` name callouts before it in the sequence."""

    name: str
    reads: tuple[str, ...] = ()
    condition: str | None = None
    source: str | None = None
    elements: int | None = None
    concurrency: int = 1
    depends_on: tuple[str, ...] | None = None
    safe: bool = True
    on_error: str = "fail"
    scripted: bool = False

    @property
    def is_list(self) -> bool:
        return self.source is not None or self.elements is not None


MAX_ITEMS = 3


def in_sequence(steps: Sequence[Step]) -> Iterator[Step]:
    """Again and again the first whose declared dependencies have all been taken."""
    waiting, taken = list(steps), set[str]()
    while waiting:
        following = next(one for one in waiting if taken.issuperset(one.depends_on or ()))
        waiting.remove(following)
        taken.add(following.name)
        yield following


class Failed(Exception):
    """The client gets this message."""


@dataclass
class Model:
    """What came of one request: the contexts, the answer's message if a callout failed, paths asked for, the time."""

    service: Service
    contexts: dict[str, Any] = field(default_factory=dict)
    message: str | None = None
    sent: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0

    def run(self, steps: Sequence[Step]) -> Model:
        try:
            for step in in_sequence(steps):
                self._step(step)
        except Failed as failed:
            self.message = str(failed)
        return self

    def value(self, name: str) -> Any:
        """What others read of a callout: the ``v`` of its response, or of its first element's."""
        response = self.contexts[name].get("response", {})
        if "items" in response:
            response = next(iter(response["items"]), {})
        return response.get("body", {}).get("v")

    def _step(self, step: Step) -> None:
        if step.condition is not None and self.value(step.condition) == 1:
            self.contexts[step.name] = {"skipped": True}
            return
        values = "".join("-" if self.value(name) is None else str(self.value(name)) for name in step.reads)
        base = f"/{step.name}/{values}"
        if not step.is_list:
            context = self._call(step, base, "-")
            error = context.pop("error", None)
            self.contexts[step.name] = {"response": context} | ({"error": error} if error else {})
            return
        elements = self._elements(step)
        if len(elements) > MAX_ITEMS:
            if step.on_error != "continue":
                raise Failed(f"{step.name} -")
            self.contexts[step.name] = {"response": {"items": []}, "error": "error"}
            return
        made = [
            self._call(step, f"{base}/{element}-{place}", str(element)) for place, element in enumerate(elements, 1)
        ]
        self.contexts[step.name] = {"response": {"items": made}}

    def _elements(self, step: Step) -> list[int]:
        if step.source is None:
            return list(range(step.elements or 0))
        found = self.contexts[step.source].get("response", {}).get("body", {}).get("list", [])
        return list(found)

    def _call(self, step: Step, path: str, element: str) -> dict[str, Any]:
        allowed = 2 if step.on_error == "retry" else 1
        failures = self.service.failures(path)
        attempts = min(allowed, failures + 1)
        self.sent[path] += attempts
        self.took_s += attempts * self.service.duration_s(path)
        failed = failures >= allowed
        if failed and step.on_error != "continue":
            raise Failed(f"{step.name} {element}")
        body = self.service.body(path)
        if step.scripted:
            body["v"] += 10
        return {"status": ERROR if failed else 200, "body": body} | ({"error": "code"} if failed else {})
