"""A group of machines as a small SVG, in words and in shapes: nothing is said by a colour alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from tasks.overview.values import Group, Machine

WIDTH, HEIGHT, GAP, TOP = 132, 54, 16, 10
IN_A_ROW = 6


def draw_group(group: Group) -> str:
    """The group as an SVG document: those who serve above, what they mount below."""
    serving = [m for m in group.machines if m.role in {"member", "master", "slave"}]
    storing = [m for m in group.machines if m.role not in {"member", "master", "slave"}]
    rows = [serving[n : n + IN_A_ROW] for n in range(0, len(serving), IN_A_ROW)]
    across = max([len(row) for row in (*rows, storing)], default=1)
    lines = len(rows) + bool(storing)
    width, height = across * (WIDTH + GAP) + GAP, lines * (HEIGHT + GAP + TOP) + GAP
    body = [part for y, row in enumerate(rows) for part in _draw_row(row, y)]
    if storing:
        body += _draw_line(len(serving[:IN_A_ROW]), len(rows))
        body += _draw_row(storing, len(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif">'
        f"<title>{escape(group.kind)} {escape(group.name)}</title>{''.join(body)}</svg>"
    )


def embed(svg: str, words: str) -> str:
    """The picture as markdown that needs nothing from elsewhere: the UI shows no SVG in the text itself."""
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    return f"![{words}](data:image/svg+xml;base64,{data})"


def _draw_row(machines: Iterable[Machine], y: int) -> list[str]:
    top = GAP + y * (HEIGHT + GAP + TOP)
    return [part for x, one in enumerate(machines) for part in _draw_box(one, GAP + x * (WIDTH + GAP), top)]


def _draw_box(machine: Machine, x: int, y: int) -> list[str]:
    stroke, width = ("#b42318", 3) if not machine.well else ("#475467", 1)
    fill = "#fef3f2" if not machine.well else "#eff8ff" if machine.role == "master" else "#ffffff"
    middle = x + WIDTH // 2
    words = [machine.role, *([machine.kind] if machine.kind else [])]
    below = machine.verdict or " ".join(words)
    return [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{width}"/>',
        f'<text x="{middle}" y="{y + 22}" text-anchor="middle" font-size="14" font-weight="bold" '
        f'fill="#101828">{escape(machine.name)}</text>',
        f'<text x="{middle}" y="{y + 41}" text-anchor="middle" font-size="11" '
        f'fill="#475467">{escape(machine.role + ": " + below if machine.verdict else below)}</text>',
    ]


def _draw_line(columns: int, row: int) -> list[str]:
    bottom = GAP + row * (HEIGHT + GAP + TOP)
    return [
        f'<line x1="{GAP + n * (WIDTH + GAP) + WIDTH // 2}" y1="{bottom - GAP - TOP}" '
        f'x2="{GAP + WIDTH // 2}" y2="{bottom}" stroke="#98a2b3"/>'
        for n in range(columns)
    ]
