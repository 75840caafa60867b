"""A property of `tests.fuzz`, led by coverage: atheris keeps the inputs that reach new branches of `src/`.

Usage: python -m tests.fuzz_guided PROPERTY [-max_total_time=SECONDS] [-seed=N] [other options of libFuzzer]
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["index", "upload_url"]):
    import index  # noqa: F401 (imported here to be instrumented)

from collections import Counter

from hypothesis import HealthCheck, given, settings

from tests import fuzz

outcomes = Counter()
check, strategies = fuzz.PROPERTIES[sys.argv.pop(1)]


@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(**strategies)
def attempt(**arguments):
    outcomes[check(**arguments)] += 1
    total = sum(outcomes.values())
    if total % 10_000 == 0:
        print(total, dict(outcomes.most_common()), flush=True)


atheris.Setup([*sys.argv, "-max_len=4096"], attempt.hypothesis.fuzz_one_input)
atheris.Fuzz()
