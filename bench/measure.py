"""Processes started and weighed: time, memory, instructions, and what a CPU quota makes of it. Linux."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import BUILD, CONTENDERS, HERE, Contender
from bench.work import ENVIRONMENT, EVENT, check

PERIOD_US = 100_000  # the kernel's own; a quota is CPU time in each of these
TIMEOUT = 300
PYTHON = BUILD / "python" / "bin" / "python"


def lay_out() -> None:
    """Make what every process needs: the event, and a Python that finds no packages but the contender's.

    What a machine has in its site-packages can triple the time that Python takes to start.
    """
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(BUILD / "python")], check=True
    )
    (BUILD / "event.json").write_text(json.dumps(EVENT))


def command(contender: Contender, mode: str, script: str, *arguments: str) -> list[str]:
    """The command line that runs one of bench/process/ on a contender's code."""
    if contender.node:
        start = ["node", str(HERE / "process" / f"{script}.mjs")]
    else:
        # -s: no packages from the home folder; -B: /code is read-only, nothing can be written beside it
        start = [str(PYTHON), "-s", "-B", str(HERE / "process" / f"{script}.py")]
    return [*start, str(contender.code(mode)), str(BUILD / "event.json"), *arguments]


def environment(contender: Contender, warm: bool = False) -> dict[str, str]:
    """What FC would set, and nothing of the caller's own."""
    node = {"PATH": os.environ["PATH"]} if contender.node else {}
    # Where warm processes find `signing`, which is not part of the package.
    here = {"PYTHONPATH": str(HERE / "contenders" / contender.name)} if warm else {}
    # The same order of sets and dicts in every run: instruction counts repeat to 0.1 %.
    return {**ENVIRONMENT, "PYTHONHASHSEED": "0", **node, **here, **contender.environment}


def cold(contender: Contender, mode: str, group: Path | None = None) -> dict[str, float]:
    """A fresh process, start to end: seconds of CPU and on the wall. `group`: the control group to run in."""

    def enter(group: Path) -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command(contender, mode, "cold"),
            env=environment(contender),
            stdout=out,
            stderr=errors,
            # Without it Python need not fork: a copy of this very process would cost the child 2 ms of CPU.
            preexec_fn=functools.partial(enter, group) if group else None,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = status
        errors.seek(0)
        assert status == 0, errors.read().decode()  # oss2 writes warnings there
        out.seek(0)
        check(_last_line(out.read().decode()))
    return {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall}


def held(contender: Contender, mode: str, *, cpus: float) -> dict[str, float]:
    """The same with so many CPUs, in a control group of its own.

    As every instance is: what one process overdraws the kernel takes from the next one in its group.

    Raises:
        OSError: This system does not let us make one.
    """
    with quota(cpus) as group:
        return cold(contender, mode, group)


def inside(contender: Contender, mode: str, bootstrap: bool) -> dict[str, float]:
    """A start from inside: CPU and wall seconds from `import index` to the answer, peak memory in KB.

    Args:
        contender: whose.
        mode: with bytecode or as source.
        bootstrap: whether what FC's bootstrap imports has been imported before.
    """
    done = subprocess.run(
        command(contender, mode, "cold", "fc" if bootstrap else "alone"),
        env=environment(contender),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    check(_last_line(done.stdout))
    cpu, wall, peak = map(float, done.stderr.splitlines()[-1].split())
    return {"cpu": cpu, "wall": wall, "peak_kb": peak}


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2]  # before it stands what a handler logs


def instructions(contender: Contender, mode: str) -> float:
    """Instructions executed by a fresh process, as valgrind counts them: the neighbours do not matter."""
    done = _under_valgrind(contender, command(contender, mode, "cold"))
    check(_last_line(done.stdout))
    return _collected(done)


def instructions_per_call(contender: Contender, mode: str, what: str, calls: int = 2000) -> float:
    """Instructions of one warm call: the difference between many calls and none."""
    line = command(contender, mode, "warm", what)
    base, many = (_collected(_under_valgrind(contender, line, f"1000\n{extra}\n")) for extra in (0, calls))
    return (many - base) / calls


def _under_valgrind(
    contender: Contender, line: list[str], stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *line],
        env=environment(contender, warm=bool(stdin)),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )


def _collected(done: "subprocess.CompletedProcess[str]") -> float:
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return float(found[1])


def growth(calls: int) -> dict[str, list[list[float]]]:
    """Our own cost by size, and over so many calls in one process: see process/growth.py."""
    ours = next(c for c in CONTENDERS if c.name == "native")
    done = subprocess.run(
        command(ours, "bytecode", "growth", str(calls)),
        env=environment(ours, warm=True),
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    found: dict[str, list[list[float]]] = json.loads(done.stdout)
    return found


def has_valgrind() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None


@contextmanager
def quota(cpus: float) -> Iterator[Path]:
    """A control group that gets so many CPUs, of either version of Linux's control groups.

    Raises:
        OSError: This system does not let us make one.
    """
    root = Path("/sys/fs/cgroup")
    second_version = (root / "cgroup.controllers").exists()
    group = (root if second_version else root / "cpu") / f"bench-{os.getpid()}"
    group.mkdir()
    try:
        microseconds = round(cpus * PERIOD_US)
        if second_version:
            (group / "cpu.max").write_text(f"{microseconds} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(microseconds))
        yield group
    finally:
        group.rmdir()


class Warm:
    """A warm process that does batches of calls when told to."""

    def __init__(self, contender: Contender, mode: str, what: str) -> None:
        self._process = subprocess.Popen(
            command(contender, mode, "warm", what),
            env=environment(contender, warm=True),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def batch(self, calls: int) -> float:
        """Seconds of CPU for one call, from so many."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline()) / 1e9 / calls

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=TIMEOUT)
