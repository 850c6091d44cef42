"""The optional compiled build, and an sdist that is the same whoever makes it; all else is in setup.cfg.

``REQUEST_CALLOUT_COMPILE=1 pip install .`` compiles the modules below with mypyc into one extension; it needs a C
compiler, and pip fetches mypy for the time of the build. Without the variable nothing of this happens.

In a checkout installed with ``--editable`` the extension lies beside the sources and wins over them: after a change
build it anew, or remove it with ``make clean``.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import time
from glob import glob

from setuptools import setup
from setuptools.command.sdist import sdist

COMPILED = (
    # What runs for every event, computes in plain Python and is typed throughout. Left out are modules that only run
    # once (config, cli), that wait in C already (server), or whose functions Lua calls (lua: lupa wants Python's own).
    # Modules that know each other's classes belong into one extension: calls between them are then calls in C.
    "request_callout/values.py",
    "request_callout/lua/host.py",
    "request_callout/transport/*.py",
    "request_callout/engine/*.py",
    "request_callout/engine/auth/*.py",
    "request_callout/engine/bodies/*.py",
    "request_callout/pdk/connection.py",
    "request_callout/pdk/over_protobuf.py",
    "request_callout/pdk/protobuf/*.py",
)
"""Patterns of the modules to compile, without the packages' own ``__init__``: those only name what is in them."""

REQUIREMENTS = ["mypy~=2.4"]

MYPY_OPTIONS = [
    # The outcome is to depend on these sources alone, not on what else is installed where they are compiled; how strict
    # the types are is for `make lint` to say.
    "--config-file=",
    "--no-site-packages",
    "--ignore-missing-imports",
    "--explicit-package-bases",
]


def compiled_build() -> dict[str, object]:
    """The arguments of ``setup`` for a compiled build."""
    try:
        from mypyc.build import mypycify
    except ImportError:  # asked what the build requires: nothing of it is there yet
        return {"setup_requires": REQUIREMENTS}
    modules = sorted(path for pattern in COMPILED for path in glob(pattern) if not path.endswith("__init__.py"))
    extensions = mypycify([*MYPY_OPTIONS, *modules], group_name="request_callout", debug_level="0")
    return {"setup_requires": REQUIREMENTS, "ext_modules": extensions}


class Reproducible(sdist):
    """An sdist that says nothing of the user who makes it, and with ``SOURCE_DATE_EPOCH`` nothing of when."""

    def make_archive(self, base_name: str, _format: str, *, base_dir: str, **_others: object) -> str:
        """Pack the folder; ``python -m build`` asks for .tar.gz only."""
        made_at = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.mode & 0o100 else 0o644
            member.mtime = min(member.mtime, made_at)
            return member

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=made_at) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            archive.add(base_dir, filter=anonymous)
        return path


setup(
    cmdclass={"sdist": Reproducible}, **(compiled_build() if os.environ.get("REQUEST_CALLOUT_COMPILE") == "1" else {})
)
