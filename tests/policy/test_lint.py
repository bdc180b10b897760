"""ruff and mypy have nothing to say. They work while other tests do (conftest.py starts them)."""

import pytest

from tests.policy.checkers import CHECKERS, finish


@pytest.mark.parametrize("tool", CHECKERS, ids=" ".join)
def test_it_is_clean(tool: tuple[str, ...]) -> None:
    status, said = finish(tool)
    if status != 0:
        pytest.fail(f"{' '.join(tool)}:\n{said[-5000:]}", pytrace=False)
