"""Result files as tables and charts, and the difference of two of them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import svg
from bench.contenders import CONTENDERS, HERE

OURS = "native"
MODES = {"bytecode": "with bytecode", "source": "without"}


class Figures:
    """The figures of one run, by name; None for what was not measured."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self._figures = results["figures"]

    def __call__(self, name: str, kind: str = "") -> float | None:
        """`cold/native/bytecode/cpu`: the median, or what `kind` says; under a quota, the mean.

        There a start is so many steps of 0.1 s, and their median is such a step too.
        """
        found = self._figures.get(name)
        return found.get(kind or self._kind(name), found["median"]) if found else None

    def ratio(self, name: str, base: str) -> tuple[float, float] | None:
        """How many times the base, and the standard error as a part of that."""
        one, other = self(name), self(base)
        if one is None or not other:
            return None
        errors = [self._figures[each][self._kind(each) + "_error"] for each in (name, base)]
        return one / other, math.hypot(errors[0] / one, errors[1] / other)

    @staticmethod
    def _kind(name: str) -> str:
        return "mean" if name.startswith("quota") else "median"


def write(folder: Path) -> None:
    """RESULTS.md and the charts, from every result file in the folder; charts are of the newest Python."""
    files = sorted(
        folder.glob("python*.json"), key=lambda file: int(file.stem.partition(".")[2]), reverse=True
    )
    documents = [json.loads(file.read_text()) for file in files]
    parts = [
        "# Results\n\n"
        "Written by `make bench`; what a figure means and how to repeat it: [README.md](README.md).\n"
        "Medians, under a quota means; *with bytecode / without* is about the function's own code and "
        "packages, as the standard library always has its own.\n"
    ]
    published = folder.parent == HERE
    charts = "results/" if published else ""
    for number, document in enumerate(documents):
        figures = Figures(document)
        parts.append(_about(document))
        if number == 0:
            (folder / "cold.svg").write_text(_cold_chart(figures))
            parts.append(f"![Cold starts, side by side]({charts}cold.svg)\n")
        parts.append(_cold(figures))
        parts.append(_held(figures))
        parts.append(_warm(figures))
        parts.append(_bars(figures))
        if document["growth"]:
            if number == 0:
                (folder / "growth.svg").write_text(_growth_chart(document["growth"]))
                parts.append(f"![Cost by size, and over a million calls]({charts}growth.svg)\n")
            parts.append(_growth(document["growth"]))
    (folder.parent / "RESULTS.md" if published else folder / "RESULTS.md").write_text("\n".join(parts))


def compare(before: Mapping[str, Any], after: Mapping[str, Any], least: float = 0.03) -> str:
    """The figures that differ by more than `least`, as a table; instructions by more than a thousandth."""
    rows = []
    old, new = Figures(before), Figures(after)
    for name in sorted(before["figures"].keys() & after["figures"].keys()):
        change = new(name) / old(name) - 1 if old(name) else 0
        if abs(change) > (0.001 if name.startswith(("instructions", "package")) else least):
            rows.append(f"| {name} | {old(name):.6g} | {new(name):.6g} | {change:+.1%} |")
    heads = [
        f"{about['commit'] or 'unknown'}, Python {about['python']}{', few rounds' if about['quick'] else ''}"
        for about in (before["about"], after["about"])
    ]
    return "\n".join([f"| figure | {heads[0]} | {heads[1]} | change |", "| --- | --: | --: | --: |", *rows])


def _about(document: Mapping[str, Any]) -> str:
    about = document["about"]
    lines = [
        f"## Python {about['python']}\n",
        f"{about['date']}, {about['processor']}, {about['system']}, Node.js {about['node'] or 'not there'}, "
        f"commit {about['commit'] or 'unknown'}{', few rounds' if about['quick'] else ''}.\n",
        *[f"{note}\n" for note in about["notes"]],
    ]
    return "\n".join(lines)


def _pair(figures: Figures, name: str, scale: float, digits: int = 0) -> str:
    """`with bytecode / without` of a figure whose name has {} for the mode."""
    values = [figures(name.format(mode)) for mode in MODES]
    shown = [f"{value * scale:,.{digits}f}" for value in values if value is not None]
    return " / ".join(shown) or "-"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cold(figures: Figures) -> str:
    rows = []
    for contender in CONTENDERS:
        name = contender.name
        if not any(figures(f"cold/{name}/{mode}/cpu") for mode in MODES):
            continue
        rows.append(
            [
                contender.title,
                _pair(figures, f"cold/{name}/{{}}/cpu", 1e3),
                _pair(figures, f"added/{name}/{{}}/cpu", 1e3, 1),
                _pair(figures, f"alone/{name}/{{}}/peak_kb", 1 / 1024, 1),
                _pair(figures, f"instructions/{name}/{{}}/cold", 1e-6),
                _pair(figures, f"package/{name}/{{}}/zip_bytes", 1 / 1024),
            ]
        )
    heads = [
        "cold start to the first answer",
        "CPU, ms",
        "added to FC's bootstrap, ms of CPU",
        "peak memory, MB",
        "instructions, millions",
        "package, KB zipped",
    ]
    return "### Cold\n\n" + _table(heads, rows)


def _held(figures: Figures) -> str:
    quotas = sorted({name.split("/")[0] for name in figures._figures if name.startswith("quota-")})
    rows = [
        [contender.title, *[_pair(figures, f"{quota}/{contender.name}/{{}}/wall", 1, 2) for quota in quotas]]
        for contender in CONTENDERS
        if any(figures(f"{quota}/{contender.name}/{mode}/wall") for quota in quotas for mode in MODES)
    ]
    if not rows:
        return ""
    heads = ["cold start held to", *[f"{quota.removeprefix('quota-')} CPU, seconds" for quota in quotas]]
    return _table(heads, rows)


def _warm(figures: Figures) -> str:
    rows = []
    for contender in CONTENDERS:
        row = [
            contender.title if contender.name != "limit" else "the limit: the hashes alone; checks nothing"
        ]
        for what in ("signing", "handler"):
            value = figures(f"warm/{contender.name}/{what}/cpu")
            least = figures(f"warm/{contender.name}/{what}/cpu", "least")
            row.append(f"{value * 1e6:,.1f} ({least * 1e6:,.1f})" if value and least else "-")
        for what in ("signing", "handler"):
            count = figures(f"instructions/{contender.name}/{what}/warm")
            row.append(f"{count / 1e3:,.0f}" if count else "-")
        if row[1] != "-":
            rows.append(row)
    heads = [
        "one more answer, warm",
        "signing, us (least)",
        "whole handler, us (least)",
        "signing, thousand instructions",
        "handler, thousand instructions",
    ]
    return "### Warm\n\n" + _table(heads, rows)


def _bars(figures: Figures) -> str:
    """What this project has set itself, and where it stands."""
    rows = []
    for mode, words in MODES.items():
        limit = "limit/bytecode"
        rows += [
            (
                f"cold, instructions, {words}: times the limit with bytecode",
                f"instructions/native/{mode}/cold",
                f"instructions/{limit}/cold",
                {"bytecode": 1.10, "source": 1.6}[mode],
            ),
            (
                f"cold, CPU, {words}: part of the oss2 snippet's",
                f"cold/native/{mode}/cpu",
                f"cold/oss2-snippet/{mode}/cpu",
                {"bytecode": 1 / 10, "source": 1 / 20}[mode],
            ),
            (
                f"held to 0.05 CPU, wall, {words}: part of the oss2 snippet's",
                f"quota-0.05/native/{mode}/wall",
                f"quota-0.05/oss2-snippet/{mode}/wall",
                {"bytecode": 1 / 10, "source": 1 / 20}[mode],
            ),
        ]
    rows += [
        (
            "added to FC's bootstrap, CPU, with bytecode: part of oss2's",
            "added/native/bytecode/cpu",
            "added/oss2-snippet/bytecode/cpu",
            1 / 45,
        ),
        (
            "peak memory, with bytecode: times the limit",
            "alone/native/bytecode/peak_kb",
            "alone/limit/bytecode/peak_kb",
            1.05,
        ),
        (
            "peak memory, with bytecode: part of oss2's",
            "alone/native/bytecode/peak_kb",
            "alone/oss2-snippet/bytecode/peak_kb",
            1 / 3,
        ),
        ("signing, warm: times the hashes alone", "warm/native/signing/cpu", "warm/limit/signing/cpu", 1.7),
        (
            "signing, warm: part of sign_url",
            "warm/native/signing/cpu",
            "warm/oss2-snippet/signing/cpu",
            1 / 18,
        ),
        (
            "handler, warm: part of sign_url alone",
            "warm/native/handler/cpu",
            "warm/oss2-snippet/signing/cpu",
            1 / 5,
        ),
    ]
    lines = []
    for words, one, other, bar in rows:
        ratio = figures.ratio(one, other)
        if ratio is not None:
            times, error = ratio
            lines.append(
                [words, _times(times), f"{error:.1%}", _times(bar), "yes" if times <= bar else "**no**"]
            )
    for mode, kilobytes in (("source", 24), ("bytecode", 64)):
        size = figures(f"package/native/{mode}/zip_bytes")
        if size:
            lines.append(
                [
                    f"package, {MODES[mode]}, zipped",
                    f"{size / 1024:.1f} KB",
                    "",
                    f"{kilobytes} KB",
                    "yes" if size <= kilobytes * 1024 else "**no**",
                ]
            )
    return "### Against the bars\n\n" + _table(["", "measured", "standard error", "bar", "met"], lines)


def _times(ratio: float) -> str:
    return f"{ratio:.2f} x" if ratio >= 0.5 else f"1/{1 / ratio:.1f}"


def _growth(growth: Mapping[str, Any]) -> str:
    names = {
        "key": "key, bytes",
        "encoded-key": "key of ä, bytes (each is three in the URL)",
        "headers": "headers of 34 bytes",
        "token": "token, characters",
    }
    rows = []
    for name, words in names.items():
        sizes = growth[name]
        for size, cost, length in (sizes[0], sizes[len(sizes) // 2], sizes[-1]):
            rows.append([words, f"{size:,}", f"{length:,}", f"{cost:.1f}"])
    calls = growth["calls"]
    first, last = calls[1], calls[-1]
    over = (
        f"\n{last[0]:,} calls in one process, each with credentials of its own: {first[1]:.1f} us a call "
        f"and {first[2] / 1024:.1f} MB after {first[0]:,}, {last[1]:.1f} us and {last[2] / 1024:.1f} MB "
        "at the end.\n"
    )
    return "### Growth\n\n" + _table(["one signature, warm", "size", "URL, characters", "us"], rows) + over


def _cold_chart(figures: Figures) -> str:
    groups = []
    for heading, name in (
        ("CPU of a cold start, milliseconds, package with bytecode", "cold/{}/bytecode/cpu"),
        ("... package as source", "cold/{}/source/cpu"),
        ("What the function adds to Function Compute's bootstrap, with bytecode", "added/{}/bytecode/cpu"),
    ):
        rows = []
        for contender in CONTENDERS:
            path = name.format(contender.name)
            value = figures(path.replace("bytecode", "source") if contender.node else path)
            if value is not None:
                title = contender.title.replace("*", "").replace("`", "")
                rows.append((title, value, f"{value * 1e3:.3g} ms", contender.name == OURS))
        if rows:
            groups.append((heading, rows))
    return svg.bars("Cold starts of this function and of the alternatives", groups)


def _growth_chart(growth: Mapping[str, Any]) -> str:
    return svg.lines(
        "Cost of a signature by size, and time and memory over many calls",
        [
            ("One signature, by key length", "bytes", "us", [(row[0], row[1]) for row in growth["key"]]),
            (
                "One signature, by token length",
                "characters",
                "us",
                [(row[0], row[1]) for row in growth["token"]],
            ),
            ("One signature, by headers", "headers", "us", [(row[0], row[1]) for row in growth["headers"]]),
            ("One answer, as calls add up", "calls", "us", [(row[0], row[1]) for row in growth["calls"]]),
            (
                "Resident memory, as calls add up",
                "calls",
                "MB",
                [(row[0], row[2] / 1024) for row in growth["calls"]],
            ),
        ],
    )
