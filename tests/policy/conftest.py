"""What checks the whole tree is slow: it comes first, so that other processes test the rest meanwhile."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name != "test_it_is_clean[mypy]")
