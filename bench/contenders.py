"""Who is compared, and each one's code as it would be deployed: `index` and its packages in one folder."""

import compileall
import importlib.util
import py_compile
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "bench"
NOT_DEPLOYED = shutil.ignore_patterns("__pycache__", "signing.py")

_specification = importlib.util.spec_from_file_location("package", ROOT / "deploy" / "package.py")
assert _specification
assert _specification.loader
_ours = importlib.util.module_from_spec(_specification)  # how src/ is deployed
_specification.loader.exec_module(_ours)


@dataclass(frozen=True)
class Contender:
    """One way to hand out a presigned PUT URL."""

    name: str
    title: str
    packages: tuple[str, ...] = ()  # from PyPI
    ours: bool = False  # src/ is its code
    node: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """With its own bytecode at hand or without; Node.js compiles in memory, function by function."""
        return ("source",) if self.node else ("bytecode", "source")

    def code(self, mode: str) -> Path:
        """The folder that stands for /code."""
        return HERE / "contenders" / self.name if self.node else BUILD / self.name / mode


#: oss2 needs crcmod; where crcmod-plus (of alibabacloud-oss-v2) is installed too, their one folder is its.
OSS2 = ("oss2", "crcmod-plus")
CONTENDERS = [
    Contender("limit", "the limit: checks nothing"),
    Contender("native", "**this function**", ours=True),
    Contender(
        "oss2-signer",
        "this function, `OSS_SIGNER=oss2`",
        OSS2,
        ours=True,
        environment={"OSS_SIGNER": "oss2"},
    ),
    Contender("oss2-snippet", "oss2, the documented snippet", OSS2),
    Contender("alibabacloud-oss-v2", "alibabacloud-oss-v2", ("alibabacloud-oss-v2",)),
    Contender("boto3", "boto3, S3 V4", ("boto3",)),
    Contender("ali-oss", "ali-oss, Node.js", node=True),
    Contender("aws4fetch", "aws4fetch, Node.js, S3 V4", node=True),
]


def stage(contender: Contender) -> None:
    """Lay out a Python contender twice: as source, and with bytecode that no file time makes stale."""
    if contender.node:
        return
    shutil.rmtree(BUILD / contender.name, ignore_errors=True)
    for mode in contender.modes:
        folder = contender.code(mode)
        if contender.ours:
            _ours.lay_out(folder)
        else:
            shutil.copytree(HERE / "contenders" / contender.name, folder, ignore=NOT_DEPLOYED)
        for file, location in _files(contender.packages):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(location, folder / file)
    bytecode = contender.code("bytecode")
    if contender.ours:
        _ours.add_bytecode(bytecode, sys.executable)
    else:
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oss2 has stray backslashes
            compileall.compile_dir(bytecode, quiet=1, invalidation_mode=unchecked)


def _files(packages: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """What `pip install --target` would put there: the packages and all they need, without bytecode."""
    waiting, seen = list(packages), set()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        for file in found.files or ():
            location = Path(str(file.locate()))
            # The list that an old pip leaves of a package without a wheel has files that it did not install.
            if ".." not in file.parts and file.suffix != ".pyc" and location.is_file():
                yield str(file), location
        for requirement in map(Requirement, found.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
