"""README against the code: its tables, its links, and its session, which runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.test_end_to_end import cloud  # noqa: F401 (a fixture)
from tests.test_errors import EXPECTED
from upload_url import errors, settings
from upload_url.settings import DEFAULT_HEADERS

README = (Path(__file__).parents[1] / "README.md").read_text()
SESSION = re.search(r"<!-- session -->\n```console\n(.*?)```", README, re.S)[1]
#: Each command of the session with the output that README shows.
STEPS = [step.partition("\n")[::2] for step in SESSION.removeprefix("$ ").split("\n$ ")]


def test_the_settings_table_has_the_settings_that_are_read():
    section = README.partition("## Settings")[2].partition("\n## ")[0]

    assert tuple(re.findall(r"^\| `([A-Z_0-9]+)` \|", section, re.M)) == settings.NAMES


def test_the_settings_table_has_the_default_headers():
    assert f"| `UPLOAD_HEADERS` | `{', '.join(DEFAULT_HEADERS)}` |" in README


def test_the_refusals_table_has_every_code_with_status_and_anchor():
    rows = re.findall(r'^\| <a id="([a-z]+)"></a>`([A-Za-z]+)` \| (\d+) \|', README, re.M)

    assert {code: int(status) for _, code, status in rows} == EXPECTED
    assert [anchor for anchor, _, _ in rows] == [code.lower() for _, code, _ in rows]
    assert [f"#{anchor}" for anchor, _, _ in rows] == [
        "#" + getattr(errors, code)("x").problem("")["type"].partition("#")[2] for _, code, _ in rows
    ]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_every_link_to_a_file_leads_to_one(link):
    assert (Path(__file__).parents[1] / link).exists()


def shape(text):
    """The text without what differs from one run to the next: made keys, times, signatures, ids."""
    text = re.sub(r"[0-9a-f]{64}|[0-9a-f]{32}|1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}", "<hex>", text)
    return re.sub(
        r"20\d{6}T\d{6}Z|20\d\d-\d\d-\d\dT[\d:]{8}Z|20\d{6}(?=%2F)|127\.0\.0\.1:\d+", "<...>", text
    ).strip()


def test_the_curl_session_runs_and_prints_what_readme_shows(cloud, tmp_path):  # noqa: F811
    commands = [command.replace("http://127.0.0.1:9000/", cloud["function"]) for command, _ in STEPS]
    script = "\necho ---\n".join(commands)

    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert [shape(output) for output in done.stdout.split("---\n")] == [shape(output) for _, output in STEPS]
