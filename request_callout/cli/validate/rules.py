"""The kinds of problems, by the names that stand in every output; they do not change from version to version."""

from __future__ import annotations

RULES = {
    "syntax": "The file is no YAML or JSON, or holds no configuration.",
    "duplicate-key": "A name stands twice in one record; only the last one counts.",
    "template": "A template of decK is not one that decK takes.",
    "unset": "An environment variable that a template of decK asks for is not set.",
    "file": "The file around the configuration is not as Kong or decK takes it.",
    "schema": "A value is missing, or has the wrong type, or is not one of those that are allowed.",
    "unknown-field": "There is no field of this name.",
    "null": "Kong refuses null here.",
    "value": "A value has the right type and can't be used: a URL, a header, a method, a certificate.",
    "name": "The name of a callout is used twice, or can't be one.",
    "dependency": "depends_on names no callout, or callouts wait for each other.",
    "reference": "A vault reference stands where Kong does not resolve it.",
    "lua": "A script or an expression is no Lua.",
    "portable": "Kong Enterprise's plugin does not have this field (--portable).",
    "expression": "A name in an expression leads nowhere, or an expression is plain text.",
    "unknown-callout": "An expression reads a callout that is not there.",
    "order": "An expression or a script reads a callout that is not done by then.",
    "destination": "A callout's own destination refuses its URL.",
    "no-effect": "What is configured does nothing.",
    "plugin-name": "The name of a plugin is nearly this one's.",
    "unseen": "A part of the configuration is kept elsewhere and was not checked.",
}
