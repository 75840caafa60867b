"""Mutation testing: one fault at a time is put into a module, and its tests must notice.

mutmut 3 would do, but it hands test ids to pytest as arguments, which those of hostile strings do not
survive, and puts frames of its own into tracebacks that the tests count. Here pytest collects once; then each
mutant is a fork in which the functions' code and the constants are exchanged before the tests run, up to the
first that fails.

Not mutated: annotations, docstrings, `__slots__`, sentences for people, and the names of codecs, in which
Python passes over punctuation (those of error handlers are). What survives must be in mutants.txt with the
reason why it is harmless; anything else is an error.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import re
import signal
import sys
import time
import types
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Module -> the tests that know it, those that find most first.
TARGETS = {
    "upload_url.errors": ["errors", "index"],
    "upload_url.events": ["events", "index", "ways_in"],
    "upload_url.policy": ["policy", "index", "settings", "events"],
    "upload_url.settings": ["settings", "index"],
    "upload_url.signer": ["signer", "index"],
    "upload_url.sdk_signer": ["sdk_signer", "index", "secrets"],
    "index": ["index", "ways_in", "secrets"],
    "local.oss_verify": ["oss_verify", "oss"],
}
#: Sweeps and processes: slow, and no better at finding one fault.
SKIPPED = ("three_signers", "sweep", "hypothesis", "fuzz", "gigabytes", "mock_oss", "command")
#: Seconds for the tests of one mutant; one that hangs is found.
LIMIT = 60

#: A word, a blank, a word: written for people.
SENTENCE = re.compile(r"[A-Za-z0-9'.:;] [a-zA-Z0-9]{2}")

SWAPS = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}


class Mutant:
    """One fault: which node (by its place in the walk) becomes what."""

    def __init__(self, tree, place, new, where):
        self.tree, self.place, self.new, self.where = tree, place, new, where
        old = list(ast.walk(tree))[place]
        self.text = f"{where}: {_text(old)} -> {_text(new)}"

    def code(self, path):
        tree = copy.deepcopy(self.tree)
        old = list(ast.walk(tree))[self.place]
        for parent in ast.walk(tree):
            for field, value in ast.iter_fields(parent):
                if value is old:
                    setattr(parent, field, self.new)
                elif isinstance(value, list):
                    setattr(parent, field, [self.new if one is old else one for one in value])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `is` with a literal: what mutants look like
            return compile(ast.fix_missing_locations(tree), path, "exec")


def _text(node):
    return " ".join(ast.unparse(node).split())[:160]


def mutants(tree, module):
    """All of a module."""
    skipped, where = _skipped(tree), _functions(tree, module)
    found = []
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in skipped:
            found += [Mutant(tree, place, new, where[id(node)]) for new in _alternatives(node)]
    seen = {}
    for mutant in found:
        seen[mutant.text] = seen.get(mutant.text, 0) + 1
        if seen[mutant.text] > 1:
            mutant.text += f" ({seen[mutant.text]})"
    return found


def _alternatives(node):
    if isinstance(node, (ast.Compare, ast.BoolOp, ast.BinOp)):
        for index, operator in enumerate(getattr(node, "ops", None) or [node.op]):
            if type(operator) in SWAPS:
                new = copy.deepcopy(node)
                if isinstance(node, ast.Compare):
                    new.ops[index] = SWAPS[type(operator)]()
                else:
                    new.op = SWAPS[type(operator)]()
                yield new
        if isinstance(node, ast.BoolOp):
            for index in range(len(node.values)):
                left = node.values[:index] + node.values[index + 1 :]
                yield left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        new = copy.copy(node)
        new.test = ast.UnaryOp(ast.Not(), node.test)
        yield new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield SWAPS[type(node)]()
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int):
            yield ast.Constant(node.value + 1)
        elif isinstance(node.value, (str, bytes)):
            yield ast.Constant(node.value + (b"/" if isinstance(node.value, bytes) else "/"))
        elif node.value is None:
            yield ast.Constant("/")
    elif isinstance(node, ast.Return) and node.value and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


def _skipped(tree):
    """Ids of the nodes that are not mutated."""
    out = set()

    def skip(node):
        out.update(id(inner) for inner in ast.walk(node))

    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                skip(getattr(node, name))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skip(node)  # docstring
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
            "__slots__",
            "title",
            "TYPE_CHECKING",
        ):
            skip(node)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            skip(node)
        if isinstance(node, ast.ImportFrom):
            skip(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SENTENCE.search(node.value):
            out.add(id(node))
        if isinstance(node, ast.Call):
            codec = []
            if getattr(node.func, "attr", "") in ("encode", "decode"):
                codec = node.args[:1]
            elif getattr(node.func, "id", "") in ("str", "bytes"):
                codec = node.args[1:2]
            out.update(id(name) for name in codec if isinstance(name, ast.Constant))
        if isinstance(node, ast.JoinedStr):
            # A format specification's constant is no string of its own.
            out.update(
                id(inner)
                for value in node.values
                if isinstance(value, ast.FormattedValue) and value.format_spec
                for inner in ast.walk(value.format_spec)
            )
            words = "0".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if SENTENCE.search(words) or SENTENCE.search("0".join(["", words, ""])):
                out.update(id(part) for part in node.values if isinstance(part, ast.Constant))
    return out


def _functions(tree, module):
    """Id of a node -> the function that it is in."""
    where = {}

    def visit(node, name):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = f"{name}.{node.name}"
        where[id(node)] = name
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(tree, module)
    return where


def exchange(module, code):
    """Gives a module's functions and constants those of other code, wherever they have been imported to."""
    fresh = types.ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    exec(code, fresh.__dict__)
    _exchange(module, vars(fresh), dict(vars(module)))
    for name, value in vars(fresh).items():
        if isinstance(value, (str, bytes, int, tuple, frozenset, re.Pattern)) and not name.startswith("__"):
            old = vars(module).get(name)
            for other in list(sys.modules.values()):
                space = getattr(other, "__dict__", {})
                if other is module or (old is not None and space.get(name) is old):
                    space[name] = value


def _exchange(owner, new, old):
    for name, value in new.items():
        here = old.get(name)
        if hasattr(here, "cache_clear"):
            here.cache_clear()
        value, here = _function(value), _function(here)
        if isinstance(value, types.FunctionType) and isinstance(here, types.FunctionType):
            if value.__code__.co_freevars == here.__code__.co_freevars:
                here.__code__, here.__defaults__, here.__kwdefaults__ = (
                    value.__code__,
                    value.__defaults__,
                    value.__kwdefaults__,
                )
            elif isinstance(owner, type):  # one with super(), or without it by now
                setattr(owner, name, value)
        elif isinstance(value, type) and isinstance(here, type) and value.__module__ == here.__module__:
            _exchange(here, dict(vars(value)), dict(vars(here)))
            if hasattr(here, "_field_defaults"):
                here.__new__.__defaults__ = value.__new__.__defaults__
        elif isinstance(owner, type) and isinstance(value, (int, str)) and not name.startswith("__"):
            setattr(owner, name, value)
        elif isinstance(value, dict) and isinstance(here, dict) and not name.startswith("__"):
            here.clear()
            here.update(value)


def _function(value):
    """Without classmethod, staticmethod, lru_cache or contextmanager around it."""
    value = getattr(value, "__func__", value)
    return getattr(value, "__wrapped__", value)


class Runner:
    """A pytest plugin: instead of running the tests once, runs them once for each mutant."""

    def __init__(self, module, only):
        self.module, self.only = module, only
        self.survivors, self.tried = [], 0

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if not any(name in item.nodeid for name in SKIPPED)]

    def pytest_runtestloop(self, session):
        target = importlib.import_module(self.module)
        source = Path(target.__file__)
        tree = ast.parse(source.read_text())
        started = time.monotonic()
        if self._found(session, lambda: None):
            raise pytest.UsageError("the tests fail without any mutant")
        for mutant in mutants(tree, self.module):
            if self.only not in mutant.text:
                continue
            self.tried += 1
            code = mutant.code(str(source))
            if not self._found(session, lambda code=code: exchange(target, code)):
                self.survivors.append(mutant.text)
                print(f"survived  {mutant.text}", flush=True)
        print(
            f"{self.module}: {self.tried} mutants, {len(self.survivors)} survived, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        return True

    def _found(self, session, change):
        """Whether a test fails after the change."""
        child = os.fork()
        if child == 0:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            failed = True
            try:
                change()
                for item, after in zip(session.items, [*session.items[1:], None], strict=True):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                    if session.testsfailed:
                        break
                failed = bool(session.testsfailed)
            finally:
                os._exit(failed)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status != 0
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return True


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Mutation testing of src/ and oss_verify."
    )
    parser.add_argument("modules", nargs="*", choices=[[], *TARGETS], metavar="MODULE", help="default: all")
    parser.add_argument("--only", default="", help="mutants with this in their text")
    options = parser.parse_args(arguments)
    listed = {
        line.partition("  # ")[0].strip()
        for line in (ROOT / "tests" / "mutants.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    tried, survivors = 0, []
    for module in options.modules or TARGETS:
        # A process for each: what pytest has imported stays imported.
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            runner = Runner(module, options.only)
            files = [str(ROOT / "tests" / f"test_{name}.py") for name in TARGETS[module]]
            plugins = [
                part for name in ("cacheprovider", "schemathesis", "cov") for part in ("-p", f"no:{name}")
            ]
            status = pytest.main(
                ["-q", "-s", "--no-header", "--no-summary", *plugins, *files], plugins=[runner]
            )
            os.write(writer, "\n".join([str(runner.tried), *runner.survivors]).encode())
            sys.stdout.flush()
            os._exit(status)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            count, *texts = pipe.read().split("\n")
        if os.waitpid(child, 0)[1]:
            return 1
        tried += int(count)
        survivors += [text for text in texts if text]
    new = [text for text in survivors if text not in listed]
    killed = tried - len(survivors)
    print(f"{tried} mutants, {killed} killed ({killed / tried:.1%}), {len(new)} survivors not explained")
    for text in new:
        print(f"  {text}")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
