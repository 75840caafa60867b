"""One start, as a process: python cold.py CODE EVENT [fc|alone]; the answer's body goes to standard output.

With `fc` or `alone`, standard error says what the function took: seconds of CPU, seconds on the wall, and the
process's peak memory in KB. With `fc`, what FC's bootstrap has imported by then is imported first.
"""

import os
import sys

sys.path[0] = sys.argv[1]  # in place of this script's folder
with open(sys.argv[2], "rb") as file:
    event = file.read()


class Credentials:
    """As FC's, for a function with a role."""

    access_key_id = os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"]
    access_key_secret = os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    security_token = os.environ["ALIBABA_CLOUD_SECURITY_TOKEN"]


class Context:
    """As FC's on python3.10."""

    request_id = "1-67400000-00000000-000000000000"
    region = "cn-hangzhou"
    account_id = "123456"
    credentials = Credentials


if sys.argv[3:] == ["fc"]:
    import http.client
    import importlib
    import json
    import logging
    import traceback
if sys.argv[3:]:
    from time import perf_counter, process_time

    cpu, wall = process_time(), perf_counter()

import index

answer = index.handler(event, Context)

if sys.argv[3:]:
    cpu, wall = process_time() - cpu, perf_counter() - wall
    with open("/proc/self/status") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    print(cpu, wall, peak, file=sys.stderr)

sys.stdout.write(answer["body"])
