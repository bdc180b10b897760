"""No test asserts what is true whatever happens: a set, list or tuple that was written out is never empty."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def is_always_true(asserted: ast.expr) -> bool:
    if isinstance(asserted, ast.Constant):
        return bool(asserted.value)
    if isinstance(asserted, ast.Set | ast.List | ast.Tuple):
        return bool(asserted.elts)
    return isinstance(asserted, ast.JoinedStr | ast.Lambda)


def find_idle_assertions(source: str) -> list[int]:
    """The lines of the assertions that cannot fail."""
    nodes = ast.walk(ast.parse(source))
    return [node.lineno for node in nodes if isinstance(node, ast.Assert) and is_always_true(node.test)]


def test_such_assertions_are_found() -> None:
    source = "assert {a, b}\nassert [a] == b\nassert 'x'\nassert (a, 'because')"
    assert find_idle_assertions(source) == [1, 3, 4]
    assert find_idle_assertions("assert False\nassert [x for x in y]\nassert a, {b}") == []


def test_every_assertion_can_fail() -> None:
    lines = {str(file): find_idle_assertions(file.read_text()) for file in TESTS.rglob("*.py")}
    assert not {file: found for file, found in lines.items() if found}
