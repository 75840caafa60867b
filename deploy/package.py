"""Lay out what is deployed: python3 deploy/package.py makes build/package.

That is src/, and its bytecode for each of Function Compute's Pythons that this machine has. Without bytecode
every cold start compiles the source again, since nothing can be written beside the code there: that takes
nearly twice the instructions (bench/RESULTS.md). Python passes over bytecode of another version than its own.
"""

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
RUNTIMES = ("3.10", "3.12")

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
    folder = SOURCE.parent / "build" / "package"
    lay_out(folder)
    for runtime in RUNTIMES:
        python = find_python(runtime)
        if python:
            add_bytecode(folder, python)
            print(f"build/package: with bytecode for python{runtime}")
        else:
            print(f"build/package: no bytecode for python{runtime}, which is not here: slower cold starts")


def lay_out(folder: Path) -> None:
    """Make the folder anew: src/ as it is, without what Python or a test has left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def find_python(runtime: str) -> "str | None":
    """An interpreter of that version, if there is one that runs: a name alone may be a version manager's."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = sys.executable if runtime == here else shutil.which(f"python{runtime}")
    works = found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603 - by name
    return found if works else None


def add_bytecode(folder: Path, python: str) -> None:
    """Put that Python's bytecode beside each source file, where an import looks for it."""
    files = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*.py"))]
    subprocess.run([python, "-c", COMPILE, *files], cwd=folder, check=True)  # noqa: S603 - found above


if __name__ == "__main__":
    main()
