"""What the compiled build needs of its modules' source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def patterns() -> tuple[str, ...]:
    """The constant of setup.py, which can't be imported: it is the build."""
    for statement in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "COMPILED":
            found: tuple[str, ...] = ast.literal_eval(statement.value)
            return found
    raise AssertionError("setup.py has no COMPILED")


MODULES = sorted(str(path.relative_to(ROOT)) for pattern in patterns() for path in ROOT.glob(pattern))


@pytest.mark.parametrize("pattern", patterns())
def test_every_pattern_names_modules(pattern: str) -> None:
    """A module that was renamed is not lost from the compiled ones."""
    assert list(ROOT.glob(pattern))


def handlers(node: ast.AST) -> Iterator[ast.ExceptHandler]:
    """The except clauses of a function, without those of functions in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.ExceptHandler):
            yield child
        yield from handlers(child)


@pytest.mark.parametrize("module", MODULES)
def test_a_name_is_for_one_kind_of_exception(module: str) -> None:
    """In a function, two except clauses for different exceptions bind different names: compiled, it has one type."""
    for function in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef):
            kinds: dict[str, set[str]] = defaultdict(set)
            for handler in handlers(function):
                if handler.name is not None and handler.type is not None:
                    kinds[handler.name].add(ast.unparse(handler.type))
            assert all(len(found) == 1 for found in kinds.values()), function.name


@pytest.mark.parametrize("module", MODULES)
def test_a_greenlet_has_no_arguments_of_its_own(module: str) -> None:
    """What it runs is bound to them: a kill takes away those of the greenlet, which compiled functions only borrow."""
    for call in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in {"spawn", "Greenlet"}:
            assert len(call.args) == 1, call.lineno
            assert not call.keywords, call.lineno


def for_types_alone(tree: ast.Module) -> Iterator[str]:
    """The names that a module imports under ``if TYPE_CHECKING``."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for node in ast.walk(statement):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    yield from (alias.asname or alias.name for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_fields_have_types_that_are_there(module: str) -> None:
    """A dataclass has no field of a type that is imported for the type checker alone: compiled, it is looked up."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    absent = set(for_types_alone(tree))
    for found in ast.walk(tree):
        if isinstance(found, ast.ClassDef) and any("dataclass" in ast.unparse(one) for one in found.decorator_list):
            fields = [statement for statement in found.body if isinstance(statement, ast.AnnAssign)]
            named = {node.id for field in fields for node in ast.walk(field.annotation) if isinstance(node, ast.Name)}
            assert not named & absent, found.name
