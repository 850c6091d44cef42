"""How long a newcomer waits: from a clone to the first answer, and to a sidecar that is configured and checked.

Runs the README's commands in a fresh clone with a fresh environment, and tells the seconds of each. Nothing but the
README's own means is used; what pip has in its cache is what most differs between machines.

    python -m bench.first_steps
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
_STEP_S = 600.0
_POLL_S = 0.05

EXAMPLE = "examples/token-injection/kong.yml"


def run(*command: str, cwd: Path) -> None:
    """One command of the README; ends the program if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_STEP_S, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")


def serve_until_healthy(folder: Path, command: str) -> None:
    """Start the sidecar as the README says, ask until it is healthy, and end it."""
    socket = str(folder / "kong.sock")
    server = subprocess.Popen(
        [command, "serve", "--socket", socket, "--dump-file", str(folder / "request-callout.json")],
        stderr=subprocess.DEVNULL,
    )
    try:
        ends = time.monotonic() + _STEP_S
        while subprocess.run([command, "health", "--socket", socket], capture_output=True, check=False).returncode:
            if server.poll() is not None or time.monotonic() > ends:
                sys.exit("the plugin server does not get healthy")
            time.sleep(_POLL_S)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Take all steps and print how long each took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone = folder / "clone"
        command = str(clone / ".venv" / "bin" / "request-callout")
        steps: list[tuple[str, Callable[[], None]]] = [
            ("git clone", lambda: run("git", "clone", "--quiet", str(ROOT), str(clone), cwd=folder)),
            ("make demo: installed, eight scenarios answered", lambda: run("make", "demo", cwd=clone)),
            ("request-callout validate", lambda: run(command, "validate", EXAMPLE, cwd=clone)),
            ("request-callout explain", lambda: run(command, "explain", EXAMPLE, cwd=clone)),
            ("request-callout serve until health says ok", lambda: serve_until_healthy(folder, command)),
        ]
        begun = time.monotonic()
        for step, take in steps:
            before = time.monotonic()
            take()
            now = time.monotonic()
            print(f"{step:50} {now - before:6.1f} s   {now - begun:6.1f} s in all", flush=True)


if __name__ == "__main__":
    main()
