"""Expressions and scripts: LuaJIT states, the sandbox, templates, and what scripts see of Kong.

Public names: ``Lua`` (one in a process), ``LuaContext`` (one for a proxied request), ``Template`` and ``Script``
(compiled once per configuration), ``Host`` (what the engine provides to them), ``analyse`` (what a source reads).
"""
