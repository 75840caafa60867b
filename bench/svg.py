"""Charts as SVG, legible on light and dark pages: middle grey text unless the scheme says better."""

from collections.abc import Sequence
from html import escape

STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.t{font-weight:600}.v{font-size:11px}"
    ".a{stroke:#8c959f;stroke-opacity:.5;fill:none}.ours{fill:#e8590c}.other{fill:#8c959f}"
    ".l{stroke:#e8590c;stroke-width:2;fill:none}"
    "@media(prefers-color-scheme:dark){text{fill:#adbac7}}"
)


def bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str, bool]]]]) -> str:
    """Horizontal bars, in groups that each have a scale of their own.

    Args:
        title: What a screen reader says of it.
        groups: (heading, [(name, value, value in words, whether it is ours)]).
    """
    left, width, row = 250, 700, 20
    parts, y = [], 8
    for heading, rows in groups:
        y += 18
        parts.append(f'<text class="t" x="8" y="{y}">{escape(heading)}</text>')
        y += 8
        scale = (width - left - 90) / max(value for _, value, _, _ in rows)
        for name, value, words, ours in rows:
            length = max(1.5, value * scale)
            parts.append(
                f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
                f'<rect class="{"ours" if ours else "other"}" x="{left}" y="{y + 2}" width="{length:.1f}" '
                f'height="{row - 6}" rx="2"/>'
                f'<text class="v" x="{left + length + 6:.1f}" y="{y + 13}">{escape(words)}</text>'
            )
            y += row
        y += 8
    return _document(title, width, y + 4, parts)


def lines(title: str, charts: Sequence[tuple[str, str, str, Sequence[tuple[float, float]]]]) -> str:
    """Small line charts, two in a row, each from zero.

    Args:
        title: What a screen reader says of it.
        charts: (heading, unit of x, unit of y, points).
    """
    cell, high, inner, top = 350, 190, 270, 34
    parts = []
    for index, (heading, x_unit, y_unit, points) in enumerate(charts):
        x0, y0 = index % 2 * cell + 56, index // 2 * high + top
        x_max, y_max = max(x for x, _ in points), max(y for _, y in points) * 1.15
        path = " ".join(f"{x0 + x / x_max * inner:.1f},{y0 + 116 - y / y_max * 116:.1f}" for x, y in points)
        parts.append(
            f'<text class="t" x="{x0 - 48}" y="{y0 - 14}">{escape(heading)}</text>'
            f'<path class="a" d="M{x0} {y0}V{y0 + 116}H{x0 + inner}"/><polyline class="l" points="{path}"/>'
            f'<text class="v" x="{x0 - 6}" y="{y0 + 8}" text-anchor="end">{y_max:.3g}</text>'
            f'<text class="v" x="{x0 - 6}" y="{y0 + 22}" text-anchor="end">{escape(y_unit)}</text>'
            f'<text class="v" x="{x0 - 6}" y="{y0 + 118}" text-anchor="end">0</text>'
            f'<text class="v" x="{x0 + inner}" y="{y0 + 132}" text-anchor="end">'
            f"{x_max:,.0f} {escape(x_unit)}</text>"
        )
    return _document(title, 2 * cell, (len(charts) + 1) // 2 * high, parts)


def _document(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
