"""The optional compiled build; everything else about the package is in setup.cfg.

``REQUEST_CALLOUT_COMPILE=1 pip install .`` compiles the modules below with mypyc into one extension; it needs a C
compiler, and pip fetches mypy for the time of the build. Without the variable nothing of this happens.

In a checkout installed with ``--editable`` the extension lies beside the sources and wins over them: after a change
build it anew, or remove it with ``make clean``.
"""

from __future__ import annotations

import os
from glob import glob

from setuptools import setup

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


setup(**(compiled_build() if os.environ.get("REQUEST_CALLOUT_COMPILE") == "1" else {}))
