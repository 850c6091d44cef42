"""Writes what the documents say twice; with ``--check`` it only tells, with status 1, if a file is not up to date.

- ``docs/reference/fields.md`` from the JSON Schema of the configuration,
- ``docs/reference/options.md`` and ``docs/reference/commands.md`` from the commands themselves,
- ``docs/reference/pdk.md`` from the tables of the wire protocols,
- ``docs/reference/examples.md`` from what each example's README.md says first,
- every fenced block under ``<!-- copy of: FILE -->`` from that file, so that a page shows what is in ``examples/``.

The results are committed, since many read them where no site is built; a test says when they are old.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from request_callout.cli import main as cli
from request_callout.config.schema import json_schema
from request_callout.engine.host import MADE_HERE, MADE_HERE_FOR_PROTOBUF
from request_callout.pdk.availability import ONLY_MSGPACK, ONLY_MSGPACK_PREFIXES
from request_callout.pdk.protobuf.methods import METHODS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
Schema = dict[str, Any]

_COPY = re.compile(r"^(<!-- copy of: (\S+) -->\n(?:<!--.*-->\n)*```\w*\n)(?:.*?)(^```$)", re.DOTALL | re.MULTILINE)
_WIDTH = 100
_FIELDS = """# Fields

Every field of the plugin's configuration, record by record. Generated from
[the JSON Schema](../../schema/request-callout.schema.json), which is also what `validate` and an editor go by.

- \\* is not in Kong Enterprise's plugin. All such fields are optional;
  [`validate --portable`](commands.md#request-callout-validate) lists those in a file.
- **Expressions**: the text may hold Lua in `$(…)` ([expressions](../expressions.md)). **Script**: it is Lua.
- **Vault**: the text may be a reference such as `{vault://env/NAME}`, which Kong resolves.
- **Secret**: Kong can keep it encrypted, and it is shown nowhere.
"""
_OPTIONS = """# Options of the server

What `request-callout serve` takes. Each option can be set from the environment instead, by the variable in the second
column. Kong passes no environment to its `start_cmd`, so use options there. Generated from
`request-callout serve --help`.
"""
_COMMANDS = """# Commands

What `request-callout COMMAND --help` says, for each command. The status is 0 if all went well, 2 if the command line is
wrong, and 1 otherwise, where a command says nothing else. Ctrl-C ends a command with status 130, but
for those that run until they are ended (`serve`, `gateway`, `demo`, `trace`): these end with 0.
"""
_PDK = """# Functions of the PDK

Which functions of Kong's PDK [expressions and scripts](../expressions.md#the-pdk) can call on which protocol. What each
does is told by Kong's documentation of the PDK. Generated from the tables of the protocols.

- **here**: the server makes it from what every protocol has, so it is alike on both.
- A function that is not in this list can be called on MsgPack, if Kong has it; on ProtoBuf that is an error of the
  script, which names the function. In an expression, a function that would change something is one too.
- `kong.ctx.shared` is a table, as in Kong. It is read and written by the two functions with its name.
"""
_EXAMPLES = """# Examples

Each is a directory in `examples/`, with a README.md that has the commands to try it. The files are valid for Kong, for
decK and for `request-callout validate`; the services that they call are those of
`request-callout demo --services-only`. Generated from what each README.md says first.
"""


def fields() -> str:
    """The page of the configuration's fields."""
    parts = [_FIELDS, "| Record | What for |\n| --- | --- |"]
    records = list(_records(json_schema(), ""))
    parts[1] += "".join(f"\n| {_link(path)} | {_first_sentence(record)} |" for path, record in records)
    for path, record in records:
        rows = [
            f"| `{name}`{_star(field)} | {_type(field)} | {_default(field)} | {_meaning(field, f'{path}.{name}')} |"
            for name, field in record["properties"].items()
        ]
        table = "\n".join(["| Field | Type | Default | Meaning |", "| --- | --- | --- | --- |", *rows])
        title = f"## `{path}`" if path else "## The configuration"
        beyond = " Not in Enterprise." if _is_beyond(record) else ""
        parts += [f"{title}\n\n{record['description']}{_required(record)}{beyond}", table]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _records(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Each record with fields of its own, from the outside in."""
    yield path, schema
    for name, field in schema["properties"].items():
        inner, suffix = (field["items"], "[]") if "items" in field else (field, "")
        if "properties" in inner:
            described = {"description": field["description"], **inner, "x-beyond-enterprise": _is_beyond(field)}
            yield from _records(described, f"{path}.{name}{suffix}".lstrip("."))


def _is_beyond(field: Schema) -> bool:
    return bool(field.get("x-beyond-enterprise"))


def _star(field: Schema) -> str:
    return " \\*" if _is_beyond(field) else ""


def _link(path: str) -> str:
    return f"[`{path}`](#{re.sub(r'[^a-z0-9_-]', '', path)})" if path else "[The configuration](#the-configuration)"


def _first_sentence(record: Schema) -> str:
    return _cell(re.split(r"(?<=\.) ", record["description"])[0])


def _required(record: Schema) -> str:
    names = [f"`{name}`" for name in record.get("required", [])]
    return f" Required: {', '.join(names)}." if names else ""


def _type(field: Schema) -> str:
    if "items" in field:
        items = field["items"]
        told = "records" if "properties" in items else f"{_type(items)} values"
        least = field.get("minItems")
        return f"list of {told}" + (f"; {least} or more" if least else "")
    if "properties" in field:
        return "record"
    if isinstance(field.get("additionalProperties"), dict):
        return "map of names to " + _type({**field["additionalProperties"], "minLength": 0})
    kinds = field.get("type", "any")
    told = " or ".join(kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")
    if "enum" in field:
        told = ", ".join(f"`{value}`" for value in field["enum"])
    limits = [
        f"{field['minimum']} or more" if "minimum" in field and "maximum" not in field else "",
        f"{field['minimum']} to {field['maximum']}" if "minimum" in field and "maximum" in field else "",
    ]
    return ", ".join(part for part in (told, *limits) if part)


def _default(field: Schema) -> str:
    value = field.get("default", field.get("x-effective-default"))
    if value is None or isinstance(value, dict):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{orjson.dumps(value).decode()}`"


def _meaning(field: Schema, path: str) -> str:
    inner = field.get("items", field.get("additionalProperties"))
    marked = {**(inner if isinstance(inner, dict) else {}), **field}
    marks = [
        word
        for key, word in (
            ("x-expressions", "expressions"),
            ("x-lua", "script"),
            ("x-referenceable", "vault"),
            ("x-encrypted", "secret"),
        )
        if marked.get(key)
    ]
    nested = path.lstrip(".") + ("[]" if "items" in field else "")
    parts = [field["description"]]
    if "properties" in (field.get("items") or field):
        parts.append(f"Its fields: {_link(nested)}.")
    elif field.get("examples"):
        examples = (one if isinstance(one, str) else orjson.dumps(one).decode() for one in field["examples"])
        parts.append("Example: " + ", ".join(f"`{one}`" for one in examples) + ".")
    if marks:
        parts.append(f"({', '.join(marks)})".capitalize())
    return _cell(" ".join(parts))


def _cell(text: str) -> str:
    """Text within a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def options() -> str:
    """The page of the options of ``serve``."""
    context = next(context for context in _contexts() if context.command_path == "request-callout serve")
    rows = ["| Option | Variable | Default | Meaning |", "| --- | --- | --- | --- |"]
    for option in context.command.params:
        record = option.get_help_record(context)
        if isinstance(option, click.Option) and record is not None:
            meaning, _, extra = record[1].partition("  [")
            parts = re.split(r"; (?=default|required|x|[0-9]+<)", extra.rstrip("]"))
            told = dict(part.partition(": ")[::2] for part in parts)
            default = "(required)" if "required" in told else _code(told.get("default", "").strip("()"))
            if isinstance(option.type, click.Choice):
                meaning += f" One of {', '.join(_code(str(choice)) for choice in option.type.choices)}."
            names = ", ".join(_code(name) for name in option.opts)
            empty = "off" if option.is_flag else ""
            rows.append(f"| {names} | {_code(told.get('env var', ''))} | {default or empty} | {_cell(meaning)} |")
    return f"{_OPTIONS}\n" + "\n".join(rows) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def commands() -> str:
    """The page of all commands, with their help as a terminal shows it."""
    parts = [_COMMANDS.strip("\n")]
    for context in _contexts():
        text = "\n".join(line.rstrip() for line in context.get_help().strip("\n").splitlines())
        parts.append(f"## {context.command_path}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _contexts() -> Iterator[click.Context]:
    """That of each command, inner ones after theirs, as if it were called from a terminal of a fixed width."""
    settings = {**cli.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    yield from _inner(click.Context(cli, info_name="request-callout", **settings))


def _inner(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _inner(click.Context(command, context, info_name=name, **command.context_settings))


def pdk() -> str:
    """The page of the PDK's functions."""
    rows = ["| Function | ProtoBuf | MsgPack |", "| --- | --- | --- |"]
    for name in sorted({*METHODS, *ONLY_MSGPACK, *MADE_HERE}):
        if name in MADE_HERE:
            rows.append(f"| `{name}` | here | here |")
        elif name in MADE_HERE_FOR_PROTOBUF:
            rows.append(f"| `{name}` | here | yes |")
        else:
            rows.append(f"| `{name}` | {'yes' if name in METHODS else 'no'} | yes |")
    rows += [f"| all below `{prefix.rstrip('.')}` | no | yes |" for prefix in ONLY_MSGPACK_PREFIXES]
    return f"{_PDK}\n" + "\n".join(rows) + "\n"


def examples() -> str:
    """The page of the examples; ValueError names one whose README.md does not begin with a title and a paragraph."""
    rows = ["| Example | Subject | What it shows |", "| --- | --- | --- |"]
    for readme in sorted((ROOT / "examples").glob("*/README.md")):
        found = re.match(r"# (.+)\n\n((?:[^\n-].*\n)+)", readme.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{readme.relative_to(ROOT)}: a title and a paragraph have to come first")
        name = _code(readme.parent.name)
        if (readme.parent / "kong.yml").exists():
            name = f"[{name}](../../examples/{readme.parent.name}/kong.yml)"
        rows.append(f"| {name} | {found[1]} | {_cell(' '.join(found[2].split()))} |")
    return f"{_EXAMPLES}\n" + "\n".join(rows) + "\n"


def with_copies(page: str) -> str:
    """A page with its copies of files as these are now; FileNotFoundError names one that there is not."""
    return _COPY.sub(lambda found: found[1] + (ROOT / found[2]).read_text(encoding="utf-8") + found[3], page)


def generated() -> dict[Path, str]:
    """What each file should hold."""
    pages = {path: with_copies(path.read_text(encoding="utf-8")) for path in [ROOT / "README.md", *DOCS.rglob("*.md")]}
    reference = {"fields": fields, "options": options, "commands": commands, "pdk": pdk, "examples": examples}
    return {**pages, **{DOCS / "reference" / f"{name}.md": write() for name, write in reference.items()}}


def main(check: bool) -> int:
    """Write what is old, or tell of it; the status."""
    texts = generated()
    old = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in old:
        sys.stderr.write(
            f"{path.relative_to(ROOT)}: {'not up to date: python docs/generate.py' if check else 'written'}\n"
        )
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
