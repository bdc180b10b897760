"""The page to open in the morning: who is there, who serves what, and what is not as it should be."""

from tasks.overview.page import render_page
from tasks.overview.picture import draw_group
from tasks.overview.values import Group, Machine, PlatformView, Releases, read_releases

__all__ = [
    "Group",
    "Machine",
    "PlatformView",
    "Releases",
    "draw_group",
    "read_releases",
    "render_page",
]
