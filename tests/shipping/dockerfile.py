"""The instructions of our Dockerfile, by stages: as much of its language as that file uses."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field

from tests.shipping.commands import ROOT


@dataclass
class Stage:
    """One stage: the image it starts from, and its instructions in order."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [rest for instruction, rest in self.instructions if instruction == name]

    def only(self, name: str) -> str:
        (rest,) = self.all(name)
        return rest

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for text in self.all("ENV") for pair in shlex.split(text))

    @property
    def copied(self) -> list[str]:
        """The sources in the build context."""
        return [source for text in self.all("COPY") if "--from" not in text for source in text.split()[:-1]]

    @property
    def health(self) -> list[str]:
        found = re.search(r"CMD (\[.*\])$", self.only("HEALTHCHECK"))
        assert found is not None
        command: list[str] = json.loads(found[1])
        return command


def read() -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, and the stages."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stages.append(Stage(rest))
        elif stages:
            stages[-1].instructions.append((name, rest.strip()))
        else:
            key, _, value = rest.partition("=")
            arguments[key] = value
    return arguments, stages
