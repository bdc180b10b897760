"""What checks the whole tree is slow and waits for nobody: it starts as soon as it is known to be wanted."""

import pytest

from tests.policy import checkers


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any(item.name.startswith("test_it_is_clean") for item in session.items)
    if wanted and not session.config.option.collectonly:
        checkers.start(("mypy",))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They are asked for their result when the quick tests are done."""
    items.sort(key=lambda item: item.name.startswith("test_it_is_clean"))


def pytest_sessionfinish() -> None:
    checkers.end_all()
