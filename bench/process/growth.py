"""How this function's cost grows: python growth.py CODE EVENT CALLS; answers JSON, CPU microseconds by size.

Sizes first, the least of many batches each; then CALLS whole calls, each with credentials of its own.
"""

import sys

sys.path[0] = sys.argv[1]
import json
import os
from time import process_time_ns

import signing

import index

TOKEN = os.environ["ALIBABA_CLOUD_SECURITY_TOKEN"]
STEPS = 20


def least(sign, variants, batches=25):
    """Microseconds of one call and the URL's length, for each variant: batches in turn, the least of each."""
    best = [float("inf")] * len(variants)
    for _ in range(batches):
        for place, (key, headers) in enumerate(variants):
            start = process_time_ns()
            for second in range(100):
                sign[place](key, headers, 1795341600 + second)
            best[place] = min(best[place], (process_time_ns() - start) / 1e5)
    lengths = [len(sign[place](*variant, 1795341600)) for place, variant in enumerate(variants)]
    return list(zip(best, lengths, strict=True))


def by_size(sizes, variants, tokens=None):
    """Rows of (size, microseconds, URL's length)."""
    held = os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"], os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    tokens = tokens or [TOKEN] * len(sizes)
    sign = [signing.prepare((*held, token)) for token in tokens]
    return [(size, *row) for size, row in zip(sizes, least(sign, variants), strict=True)]


def many(event, calls):
    """Rows of (calls so far, microseconds of a call since the last row, KB resident)."""

    class Credentials:
        access_key_id = access_key_secret = security_token = ""

    class Context:
        request_id = "1-67400000-00000000-000000000000"
        region = "cn-hangzhou"
        account_id = "123456"
        credentials = Credentials

    rows = []
    for step in range(STEPS):
        start = process_time_ns()
        for call in range(step * calls // STEPS, (step + 1) * calls // STEPS):
            Credentials.access_key_id = f"STS.{call}"
            Credentials.access_key_secret = f"secret{call}"
            Credentials.security_token = f"{TOKEN}{call}"
            answer = index.handler(event, Context)
        assert answer["statusCode"] == 200, answer
        taken = (process_time_ns() - start) / 1000 / (calls / STEPS)
        with open("/proc/self/status") as file:
            resident = next(line.split()[1] for line in file if line.startswith("VmRSS"))
        rows.append(((step + 1) * calls // STEPS, taken, int(resident)))
    return rows


answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where the handler's log lines go
with open(sys.argv[2], "rb") as file:
    event = file.read()
plain = {"Content-Type": "image/png", "x-oss-meta-owner": "42"}
keys = [1, *range(64, 1024, 64), 1023]
counts = range(0, 65, 4)
lengths = range(0, 8193, 512)
json.dump(
    {
        "key": by_size(keys, [("k" * size, plain) for size in keys]),
        "encoded-key": by_size(keys, [("ä" * (size // 2) + "k" * (size % 2), plain) for size in keys]),
        "headers": by_size(
            counts, [("key", {f"x-oss-meta-{n:03d}": "v" * 20 for n in range(size)}) for size in counts]
        ),
        "token": by_size(lengths, [("key", plain)] * len(lengths), [(TOKEN * 11)[:size] for size in lengths]),
        "calls": many(event, int(sys.argv[3])),
    },
    answers,
)
answers.close()
