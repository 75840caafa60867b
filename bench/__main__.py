"""python -m bench: time every contender in one run, and write what came out."""

import argparse
import datetime
import functools
import json
import math
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import measure, report
from bench.contenders import CONTENDERS, HERE, ROOT, Contender, stage

#: CPUs: the least that FC gives (128 MB goes with it), and what its tool sets when nothing is said (512 MB)
QUOTAS = (0.05, 0.35)
#: Those that the bars are about, and how often each starts while the others start once, where a quota deals
#: out time in steps of 0.1 s: a short start is a few steps more or less, a long one does not need that many.
#: They are measured alone where it takes long: valgrind needs half a second for one of boto3's warm calls.
BARRED = {"limit": 12, "native": 12, "oss2-snippet": 2}
Samples = dict[str, list[float]]


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds: for looking, not for publishing")
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}; for looking too"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="what is for looking goes to build/ else")
    commands = parser.add_subparsers(dest="command")
    compare = commands.add_parser("compare", help="two result files, the figures that differ")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    commands.add_parser("report", help="write the tables and charts anew from the result files")
    arguments = parser.parse_args()
    if arguments.command == "compare":
        try:
            documents = [json.loads(file.read_text()) for file in (arguments.before, arguments.after)]
            print(report.compare(*documents))
        except (OSError, ValueError, LookupError, TypeError) as error:
            parser.error(f"not two result files: {error!r}")
        return
    published = arguments.command == "report" or not (arguments.quick or arguments.only)
    output = arguments.output or (HERE / "results" if published else ROOT / "build" / "bench-results")
    output.mkdir(parents=True, exist_ok=True)
    if arguments.command != "report":
        stem = f"python{sys.version_info.major}.{sys.version_info.minor}"
        results = run([c for c in CONTENDERS if c.name in (arguments.only or c.name)], arguments.quick)
        (output / f"{stem}.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    report.write(output.resolve())
    say(f"written to {output}")


def run(contenders: list[Contender], quick: bool) -> dict[str, object]:
    """Every measurement, as one document."""
    notes: list[str] = []
    if any(c.node for c in contenders) and not (HERE / "node_modules").exists():
        notes.append("Node.js contenders left out: `npm ci` in bench/ has not been run.")
        contenders = [c for c in contenders if not c.node]
    say("laying out the packages")
    measure.lay_out()
    for contender in contenders:
        stage(contender)
    cases = [(c, mode) for c in contenders for mode in c.modes]
    python_cases = [(c, mode) for c, mode in cases if not c.node]

    samples: Samples = {}
    for contender, mode in cases:
        samples |= package_size(contender, mode)
    say("cold starts")
    samples |= rounds(3 if quick else 61, cases, "cold", measure.cold)
    say("cold starts, after FC's bootstrap")
    samples |= rounds(3 if quick else 11, cases, "added", functools.partial(measure.inside, bootstrap=True))
    samples |= rounds(1 if quick else 5, cases, "alone", functools.partial(measure.inside, bootstrap=False))
    say("warm calls")
    samples |= warm(contenders, 3 if quick else 15)
    for cpus in QUOTAS:
        say(f"cold starts, held to {cpus} CPU")
        held = [
            (c, mode)
            for c, mode in cases
            for _ in range(BARRED.get(c.name, 1))
            if c.name != "oss2-signer" and (not quick or (c.name in BARRED and mode == "bytecode"))
        ]
        try:
            samples |= rounds(
                1 if quick else 5 if cpus < 0.1 else 7,
                held,
                f"quota-{cpus}",
                functools.partial(measure.held, cpus=cpus),
            )
        except OSError as error:
            notes.append(
                f"No CPU quota of {cpus}: this system does not allow setting one ({error.strerror})."
            )
    if measure.has_valgrind():
        say("instructions")
        samples |= instructions(python_cases, quick)
    else:
        notes.append("No instruction counts: valgrind is not installed.")
    growth = {}
    if any(c.name == "native" for c in contenders):
        say("growth")
        growth = measure.growth(100_000 if quick else 1_000_000)
    return {
        "about": about() | {"quick": quick, "notes": notes},
        "figures": {name: summary(values) for name, values in samples.items()},
        "growth": growth,
    }


def summary(values: list[float]) -> dict[str, float]:
    """What is kept of a figure's samples; the standard errors are of this run alone: hours differ too.

    The median's is that of a normal distribution with these quartiles: one disturbed start is no matter then.
    """
    root = math.sqrt(len(values))
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {
        "median": statistics.median(values),
        "median_error": 1.25 * (high - low) / 1.35 / root,
        "mean": statistics.mean(values),
        "mean_error": statistics.pstdev(values) / root,
        "least": min(values),
        "n": len(values),
    }


def rounds(
    count: int,
    cases: Iterable[tuple[Contender, str]],
    name: str,
    measure_one: Callable[[Contender, str], dict[str, float]],
) -> Samples:
    """Each case once per round, so that a busy minute of the machine falls on all alike.

    In another order each time: what ran just before leaves the caches warm or cold, up to a tenth of a start.
    """
    samples: Samples = defaultdict(list)
    cases = list(cases)
    order = random.Random(0)
    for _ in range(count):
        order.shuffle(cases)
        for contender, mode in cases:
            for unit, value in measure_one(contender, mode).items():
                samples[f"{name}/{contender.name}/{mode}/{unit}"].append(value)
    return samples


def warm(contenders: list[Contender], count: int) -> Samples:
    """Batches of about 50 ms, in processes that stay: signing alone, and the whole handler."""
    samples: Samples = defaultdict(list)
    for what in ("signing", "handler"):
        processes = {c.name: measure.Warm(c, c.modes[0], what) for c in contenders}
        calls = {}
        for name, process in processes.items():
            first = process.batch(20)
            process.batch(max(20, int(0.2 / first)))  # until Node.js has compiled what is hot
            calls[name] = max(20, int(0.05 / process.batch(20)))
        for _ in range(count):
            for name, process in processes.items():
                samples[f"warm/{name}/{what}/cpu"].append(process.batch(calls[name]))
        for process in processes.values():
            process.close()
    return samples


def instructions(cases: list[tuple[Contender, str]], quick: bool) -> Samples:
    """Once each: they repeat. As many at a time as there are processors, for the same reason."""
    if quick:
        cases = [(c, mode) for c, mode in cases if c.name in ("limit", "native")]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        waiting = {
            f"instructions/{c.name}/{mode}/cold": pool.submit(measure.instructions, c, mode)
            for c, mode in cases
        } | {
            f"instructions/{c.name}/{what}/warm": pool.submit(measure.instructions_per_call, c, mode, what)
            for c, mode in cases
            for what in ("signing", "handler")
            if mode == "bytecode" and c.name in BARRED
        }
        return {name: [found.result()] for name, found in waiting.items()}


def package_size(contender: Contender, mode: str) -> Samples:
    """What is uploaded: the bytes of the zip, and of the files in it."""
    folder = contender.code(mode)
    if (
        contender.node
    ):  # the packages are shared with the other contender: not a package as it would be deployed
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(shutil.make_archive(f"{temporary}/package", "zip", folder))
        zipped = archive.stat().st_size
    files = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        f"package/{contender.name}/{mode}/zip_bytes": [zipped],
        f"package/{contender.name}/{mode}/bytes": [files],
    }


def about() -> dict[str, object]:
    """Where and when, as far as a reader needs it to judge the figures."""
    processor = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(": ")[1]
            break
    node = shutil.which("node")
    git = shutil.which("git")
    describe = [git or "", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
        if git
        else "",
        "python": platform.python_version(),
        "node": subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        if node
        else "",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{os.cpu_count()} x {processor}",
    }


def say(what: str) -> None:
    """Progress, for whoever waits."""
    print(f"{datetime.datetime.now():%H:%M:%S} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
