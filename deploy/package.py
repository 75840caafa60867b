"""Lay out what is deployed: python3 deploy/package.py python3.12 makes build/package.

That is src/, and its bytecode for the runtimes named, or for all that the function runs on; a Python of just
that version has to make it. Without it every cold start compiles the source again, since nothing can be
written beside the code there: that takes nearly twice the instructions (bench/RESULTS.md). Python passes over
bytecode of another version than its own.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
RUNTIMES = ("python3.10", "python3.12")

#: Tools that keep Pythons which no PATH leads to, and how each says where one is.
KEEPERS = (
    ("uv", "python", "find", "--no-python-downloads", "{version}"),
    ("pyenv", "prefix", "{version}"),
    ("py", "-{version}", "-c", "import sys; print(sys.executable)"),
)

#: Run by the runtime's own version. Unchecked, because Serverless Devs gives all files one time, which makes
#: bytecode that remembers its source's time stale. Without docstrings, which nothing reads there, but under
#: the name that Python looks for when it runs without -OO.
COMPILE = """
import importlib.util, py_compile, sys
for path in sys.argv[1:]:
    py_compile.compile(
        path, cfile=importlib.util.cache_from_source(path), doraise=True, optimize=2,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
"""


def main() -> None:
    """Lay out and say what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=" or ".join(RUNTIMES))
    runtimes = parser.parse_args().runtimes or RUNTIMES
    for runtime in runtimes:
        if runtime not in RUNTIMES:
            parser.error(f"the function does not run on {runtime}, but on {' and '.join(RUNTIMES)}")
    folder = SOURCE.parent / "build" / "package"
    try:
        lay_out(folder)
    except OSError as error:
        sys.exit(f"build/package cannot be written: {error}")
    for runtime in runtimes:
        python = find_python(runtime)
        if python:
            add_bytecode(folder, python)
            print(f"build/package: with bytecode for {runtime}")
        else:
            print(
                f"build/package: no bytecode for {runtime}: no Python {runtime[6:]} was found on PATH, nor "
                "by uv, pyenv or py. The function works, but starts more slowly. To have one: "
                f"`uv python install {runtime[6:]}`, or the system's packages."
            )


def lay_out(folder: Path) -> None:
    """Make the folder anew: src/ as it is, without what Python or a test has left in it."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def find_python(runtime: str) -> "str | None":
    """An interpreter whose bytecode that runtime reads, if this machine has one."""
    for python in _candidates(runtime):
        # A name alone may be a version manager's, which runs nothing unless the version is switched on.
        tag = _output(python, "-c", "import sys; print(sys.implementation.cache_tag)")
        if tag == runtime.replace("python", "cpython-").replace(".", ""):
            return python
    return None


def _candidates(runtime: str) -> "Iterator[str]":
    yield sys.executable
    yield runtime
    for keeper in KEEPERS:
        found = _output(*[word.format(version=runtime[6:]) for word in keeper])
        if found:
            yield found
            yield str(Path(found, "bin", "python"))  # pyenv names the folder


def _output(*command: str) -> str:
    """What a command says, "" if it fails or is not here."""
    program = shutil.which(command[0])
    if not program:
        return ""
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)  # noqa: S603 - by name
    return done.stdout.strip() if done.returncode == 0 else ""


def add_bytecode(folder: Path, python: str) -> None:
    """Put that Python's bytecode beside each source file, where an import looks for it."""
    files = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*.py"))]
    # -I: an environment that says where bytecode goes, or which, is this machine's and not the runtime's.
    subprocess.run([python, "-I", "-c", COMPILE, *files], cwd=folder, check=True)  # noqa: S603 - found above


if __name__ == "__main__":
    main()
