"""Expressions and scripts: LuaJIT states, the sandbox, templates, and what scripts see of Kong.

Public names: ``Lua`` (one in a process), ``LuaContext`` (one for a proxied request), ``Template`` and ``Script``
(compiled once per configuration), ``Host`` (what the engine provides to them), ``analyse`` and ``uses_of`` (what a
source reads), ``encode`` (a value as Lua will read it).
"""

from request_callout.lua.analysis import Use, Uses, analyse, uses_of
from request_callout.lua.context import LuaContext
from request_callout.lua.conversion import MAX_DEPTH, Headers, encode
from request_callout.lua.host import Host, PdkError, ScriptError, Shortcut
from request_callout.lua.runtime import Lua
from request_callout.lua.script import Script
from request_callout.lua.template import Template

__all__ = [
    "MAX_DEPTH",
    "Headers",
    "Host",
    "Lua",
    "LuaContext",
    "PdkError",
    "Script",
    "ScriptError",
    "Shortcut",
    "Template",
    "Use",
    "Uses",
    "analyse",
    "encode",
    "uses_of",
]
