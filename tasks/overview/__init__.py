"""The page to open in the morning: who is there, who serves what, and what is not as it should be."""

from tasks.overview.page import render_page, say_when
from tasks.overview.picture import draw_group
from tasks.overview.values import (
    OLD,
    Comparison,
    Group,
    Machine,
    PlatformView,
    Releases,
    is_old,
    read_differences,
    read_releases,
)

__all__ = [
    "OLD",
    "Comparison",
    "Group",
    "Machine",
    "PlatformView",
    "Releases",
    "draw_group",
    "is_old",
    "read_differences",
    "read_releases",
    "render_page",
    "say_when",
]
