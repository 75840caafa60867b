"""python -m bench.pruned: how cheap could a start without bytecode become at best?

From a copy of src/ it deletes all that the benchmark's one answer does not run: every refusal with its
sentence, every other way in, every branch not taken. However much src/ were to load later, it could not cost
less than this copy, which has nothing left to load. A second copy also loses annotations and docstrings.
"""

import argparse
import ast
import contextlib
import io
import json
import os
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

from bench import measure
from bench.__main__ import rounds
from bench.contenders import CONTENDERS, ROOT, Contender, stage
from bench.work import ENVIRONMENT, EVENT, check

SRC = ROOT / "src"
AS_IT_IS = "src/ as it is"
PRUNED = "what the answer does not run, deleted"
BARE = "and annotations and docstrings"


def main() -> None:
    """Prune, measure, print. The copies' answers are checked as every contender's."""
    parser = argparse.ArgumentParser(prog="python -m bench.pruned", description=__doc__)
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="starts of each, for the CPU")
    arguments = parser.parse_args()
    if not measure.has_valgrind():
        parser.error("valgrind is not installed: it counts the instructions")
    lines = lines_run()
    measure.lay_out()
    named = {contender.name: contender for contender in CONTENDERS}
    for name in ("limit", "native", "oss2-snippet"):
        stage(named[name])
    variants = {AS_IT_IS: named["native"]}
    for title, name in ((PRUNED, "pruned"), (BARE, "bare")):
        variants[title] = Contender(name, title, ours=True)
        for file, ran in lines.items():
            copy = variants[title].code("source") / file.relative_to(SRC)
            copy.parent.mkdir(parents=True, exist_ok=True)
            tree = ast.parse(file.read_text())
            tree.body = prune(tree.body, ran, bare=title == BARE)
            copy.write_text(ast.unparse(ast.fix_missing_locations(tree)) + "\n")

    limit = measure.instructions(named["limit"], "bytecode")
    counts = {title: measure.instructions(variant, "source") for title, variant in variants.items()}
    cases = [(contender, "source") for contender in (*variants.values(), named["oss2-snippet"])]
    cpu = {
        name.split("/")[1]: statistics.median(values)
        for name, values in rounds(arguments.rounds, cases, "cold", measure.cold).items()
        if name.endswith("/cpu")
    }
    print("| cold, without bytecode | instructions, millions | times the limit | CPU, part of oss2's |")
    print("| --- | --: | --: | --: |")
    for title, variant in variants.items():
        print(
            f"| {title} | {counts[title] / 1e6:.0f} | {counts[title] / limit:.2f} "
            f"| 1/{cpu['oss2-snippet'] / cpu[variant.name]:.1f} |"
        )


def lines_run() -> dict[Path, set[int]]:
    """The lines of each file of src/ that the import and one answer run."""
    lines: dict[Path, set[int]] = defaultdict(set)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        file = Path(frame.f_code.co_filename)
        if SRC not in file.parents:
            return None
        if event == "line":
            lines[file].add(frame.f_lineno)
        return trace

    os.environ.update(ENVIRONMENT)
    sys.path.insert(0, str(SRC))
    sys.settrace(trace)
    import index

    with contextlib.redirect_stdout(io.StringIO()):  # it logs a line
        answer = index.handler(json.dumps(EVENT).encode(), None)
    sys.settrace(None)
    check(answer["body"])
    return lines


def prune(body: list[ast.stmt], lines: set[int], *, bare: bool) -> list[ast.stmt]:
    """What is left of a block, never nothing: the statements of which a line has run."""

    def has_run(body: list[ast.stmt]) -> bool:
        return any(line in lines for node in body for line in range(node.lineno, node.end_lineno + 1))

    left: list[ast.stmt] = []
    for node in body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):  # a docstring
                if not bare:
                    left.append(node)
                continue
            case ast.FunctionDef() if not has_run(node.body):
                # Its name may be imported: the cheapest thing of that name.
                left.append(ast.Assign([ast.Name(node.name, ast.Store())], ast.Constant(None)))
                continue
            case ast.FunctionDef() | ast.Global():  # what the compiler reads does not run
                pass
            case _ if not has_run([node]):
                continue
            case ast.Try():  # nothing has been raised
                left += prune(node.body, lines, bare=bare)
                continue
            case ast.ImportFrom(module="__future__") if bare:
                continue
            case ast.AnnAssign() if bare:
                if node.value:
                    left.append(ast.Assign([node.target], node.value))
                continue
        if isinstance(node, ast.FunctionDef) and bare:
            node.returns = None
            for argument in (*node.args.args, *node.args.kwonlyargs):
                argument.annotation = None
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if block:
                setattr(
                    node, name, prune(block, lines, bare=bare) if name == "body" or has_run(block) else []
                )
        left.append(node)
    return left or [ast.Pass()]


if __name__ == "__main__":
    main()
