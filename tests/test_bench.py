"""The benchmark: that it runs, times nothing wrong, and that what is written about it are its figures."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import index
from bench import pruned, report, work
from bench.__main__ import about, summary
from bench.contenders import CONTENDERS
from bench.measure import has_valgrind

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
RESULTS = json.loads((BENCH / "results" / "python3.12.json").read_text())


# Nothing wrong is timed


@pytest.fixture
def answer(monkeypatch):
    """What the function answers to the benchmark's event."""
    for name, value in work.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return json.loads(index.handler(json.dumps(work.EVENT).encode(), None)["body"])


def test_a_right_answer_counts(answer):
    work.check(json.dumps(answer))


def other_query(name, value):
    return lambda answer: {"url": re.sub(rf"(?<={name}=)[^&]*", value, answer["url"])}


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another method", lambda answer: {"method": "POST"}),
        ("the content type is not bound", lambda answer: {"headers": {"x-oss-meta-owner": "42"}}),
        ("not the headers asked for", lambda answer: {"headers": {"Content-Type": "image/png"}}),
        ("not the headers asked for", lambda answer: {"headers": answer["headers"] | {"x-oss-meta-a": "b"}}),
        ("another key", lambda answer: {"url": answer["url"].replace(".png", ".gif")}),
        ("another bucket", lambda answer: {"url": answer["url"].replace("//examplebucket.", "//other.")}),
        ("another token", other_query("x-oss-security-token", "CAIS")),
        ("another expiry", other_query("x-oss-expires", "3600")),
        ("another time", other_query("x-oss-date", "20200101T000000Z")),
        ("another credential", other_query("x-oss-credential", "LTAI")),
        ("another signature", other_query("x-oss-signature", "0" * 64)),
        ("another signature", other_query("x-oss-expires", "599")),
    ],
)
def test_a_wrong_answer_does_not_count(answer, what, change):
    with pytest.raises(AssertionError, match=what):
        work.check(json.dumps(answer | change(answer)))


def test_the_limit_does_the_work(answer, monkeypatch):
    """It is what the others are measured by."""
    monkeypatch.syspath_prepend(str(BENCH / "contenders" / "limit"))
    monkeypatch.delitem(sys.modules, "index")
    limit = importlib.import_module("index")
    monkeypatch.delitem(sys.modules, "index")  # and the function's own is back after the test

    body = limit.handler(json.dumps(work.EVENT).encode(), Context)["body"]

    work.check(body)
    assert urlsplit(json.loads(body)["url"]).path == urlsplit(answer["url"]).path


class Context:
    """As the processes of the benchmark have it."""

    request_id = "1-67400000"
    region = work.REGION

    class credentials:  # noqa: N801 - an attribute of FC's context
        access_key_id = work.KEY_ID
        access_key_secret = work.SECRET
        security_token = work.TOKEN


def test_each_folder_is_a_contender_and_each_contender_but_ours_has_one():
    folders = {folder.name for folder in (BENCH / "contenders").iterdir()}

    assert folders == {contender.name for contender in CONTENDERS}


# The figures


def test_a_figure_comes_with_its_errors():
    found = summary([1.0, 2.0, 3.0, 4.0])

    assert (found["median"], found["mean"], found["least"], found["n"]) == (2.5, 2.5, 1.0, 4)
    assert found["mean_error"] == pytest.approx(1.118 / 2, abs=0.001)
    assert found["median_error"] == pytest.approx(1.25 * 2.5 / 1.35 / 2)
    assert summary([7.0])["median_error"] == summary([7.0])["mean_error"] == 0


def test_the_tables_and_charts_are_those_of_the_result_files(tmp_path):
    for file in (BENCH / "results").glob("*.json"):
        shutil.copy(file, tmp_path)

    report.write(tmp_path)

    tables = (tmp_path / "RESULTS.md").read_text()
    assert tables == (BENCH / "RESULTS.md").read_text().replace("](results/", "](")
    for chart in (BENCH / "results").glob("*.svg"):
        assert (tmp_path / chart.name).read_text() == chart.read_text()


def test_the_published_runs_are_whole_ones_of_commits():
    for file in (BENCH / "results").glob("*.json"):
        about = json.loads(file.read_text())["about"]
        assert (about["quick"], about["notes"]) == (False, [])
        assert re.fullmatch("[0-9a-f]{10}", about["commit"])


def test_readme_says_what_was_measured():
    figures = report.Figures(RESULTS)
    ours, theirs = (figures(f"cold/{name}/bytecode/cpu") for name in ("native", "oss2-snippet"))
    held, theirs_held = (figures(f"quota-0.05/{name}/bytecode/wall") for name in ("native", "oss2-snippet"))

    said = (
        f"one costs {ours * 1e3:.0f} ms of CPU here and {theirs * 1e3:.0f} ms with the documented "
        f"oss2 snippet, and held to the smallest instance's 0.05 CPU it takes {held:.1f} s instead of "
        f"{theirs_held:.1f}."
    )

    assert said in (ROOT / "README.md").read_text()


def test_the_benchmarks_readme_says_what_is_missed():
    text = (BENCH / "README.md").read_text()
    missed = (BENCH / "RESULTS.md").read_text().partition("## Python 3.10")[0].count("**no**")
    counts = report.Figures(RESULTS)
    ours, without = (counts(f"instructions/native/{mode}/cold") for mode in ("bytecode", "source"))
    left = 1.6 * counts("instructions/limit/bytecode/cold") - ours

    assert f"{(without - ours) / 1e6:.0f} of {without / 1e6:.0f} million instructions" in text
    assert f"1.6 times the limit would leave {left / 1e6:.0f}." in text
    assert f"The {['', 'one', 'two', 'three'][missed]} bars that are missed" in text
    times = without / counts("instructions/limit/bytecode/cold")
    assert f"| src/ as it is | {without / 1e6:.0f} | {times:.2f} |" in text


def test_two_runs_are_compared():
    faster = json.loads(json.dumps(RESULTS))
    faster["figures"]["cold/native/bytecode/cpu"]["median"] *= 0.9
    faster["figures"]["instructions/native/bytecode/cold"]["median"] *= 1.002
    faster["figures"]["warm/native/signing/cpu"]["median"] *= 1.02

    rows = report.compare(RESULTS, faster).splitlines()[2:]

    assert [(row.split()[1], row.split()[-2]) for row in rows] == [
        ("cold/native/bytecode/cpu", "-10.0%"),
        ("instructions/native/bytecode/cold", "+0.2%"),
    ]


def test_a_run_from_before_there_were_means_can_be_compared():
    before = json.loads(json.dumps(RESULTS))
    for figure in before["figures"].values():
        del figure["mean"], figure["mean_error"], figure["median_error"]

    rows = report.compare(before, RESULTS).splitlines()[2:]

    assert {row.split()[1].split("/")[0] for row in rows} <= {"quota-0.05", "quota-0.35"}


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        check=False,
        timeout=300,
        capture_output=True,
        text=True,
    )


def test_a_misspelt_contender_is_told_and_nothing_is_written(tmp_path):
    done = bench("--quick", "--only", "nativ", "--output", str(tmp_path))

    assert done.returncode == 2
    assert "invalid choice: 'nativ'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_no_result_file_is_told_in_one_line(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    for name in ("a.json", "absent.json"):
        done = bench("compare", str(tmp_path / name), str(tmp_path / name))

        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("python -m bench: error: not two result files: ")


def block(source, *lines):
    """What is left of a few lines of which these have run."""
    left = ast.Module(pruned.prune(ast.parse(source).body, set(lines), bare=False), [])
    return ast.unparse(ast.fix_missing_locations(left))


@pytest.mark.parametrize(
    ("source", "ran", "left"),
    [
        ("a = 1\nb = 2", [1], "a = 1"),
        ("if a:\n    b\nelse:\n    c", [1, 2], "if a:\n    b"),
        ("if a:\n    b\nelse:\n    c", [1, 4], "if a:\n    pass\nelse:\n    c"),
        ("for a in b:\n    c", [1], "for a in b:\n    pass"),
        ("try:\n    a\nexcept E:\n    b", [1, 2], "a"),
        ("def f():\n    a\n    b", [1, 2], "def f():\n    a"),
        ("def f():\n    global a\n    a = b", [1, 3], "def f():\n    global a\n    a = b"),
        ("def f():\n    a", [1], "f = None"),
        ("a(\n    b,\n)", [2], "a(b)"),
    ],
)
def test_what_has_not_run_is_pruned(source, ran, left):
    assert block(source, *ran) == left


def test_a_bare_copy_has_neither_annotations_nor_docstrings():
    source = """
"What."
from __future__ import annotations
a: int
b: int = 1
def f(c: int) -> int:
    "How."
    return c
"""

    bare = pruned.prune(ast.parse(source).body, set(range(9)), bare=True)

    assert [ast.unparse(node).strip() for node in map(ast.fix_missing_locations, bare)] == [
        "b = 1",
        "def f(c):\n    return c",
    ]


@pytest.mark.skipif(not (has_valgrind() or os.environ.get("CI")), reason="valgrind is not installed")
def test_the_pruned_copies_answer_and_cost_less():
    done = subprocess.run(
        [sys.executable, "-m", "bench.pruned", "--rounds", "1"],
        cwd=ROOT, check=True, timeout=300, capture_output=True, text=True,
    )  # fmt: skip

    counts = [int(line.split("|")[2]) for line in done.stdout.splitlines()[2:]]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 3
    for file in (ROOT / "build/bench/pruned/source").rglob("*.py"):
        assert not any(isinstance(node, ast.Raise) for node in ast.walk(ast.parse(file.read_text())))


def test_it_runs_and_a_look_is_not_published():
    published = {file: file.read_bytes() for file in (BENCH / "results").iterdir()}
    start = time.time()

    done = bench("--quick", "--only", "limit", "native")

    assert done.returncode == 0, done.stderr
    assert {file: file.read_bytes() for file in (BENCH / "results").iterdir()} == published
    looks = ROOT / "build" / "bench-results"
    file = looks / f"python{sys.version_info.major}.{sys.version_info.minor}.json"
    results = json.loads(file.read_text())
    figures = report.Figures(results)
    assert results["about"]["quick"]
    assert file.stat().st_mtime >= start
    for name in ("limit", "native"):
        for mode in ("bytecode", "source"):
            assert 0 < figures(f"cold/{name}/{mode}/cpu") < 5
            assert 0 < figures(f"added/{name}/{mode}/cpu") < figures(f"alone/{name}/{mode}/cpu") < 5
    assert figures("cold/native/bytecode/cpu", "n") == 3
    table = (looks / "RESULTS.md").read_text()
    assert "cold, CPU" not in table  # there is no snippet to compare with
    assert "peak memory, with bytecode: times the limit" in table


def test_where_there_is_no_git_the_commit_is_not_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (about()["commit"], about()["node"]) == ("", "")
