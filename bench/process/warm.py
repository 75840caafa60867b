"""A warm process: python warm.py CODE EVENT signing|handler. Each number read: so many calls; answers CPU ns.

The key differs in every call, and so does the second where the signer takes it.
"""

import sys

sys.path[0] = sys.argv[1]
import gc
import json
import os
from time import process_time_ns


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


with open(sys.argv[2]) as file:
    event = json.load(file)
asked = json.loads(event["body"])
MARK = "0" * 8  # in the key of the event
headers = {"Content-Type": asked["contentType"], "x-oss-meta-owner": asked["metadata"]["owner"]}

if sys.argv[3] == "handler":
    import index

    text = json.dumps(event)
    events = [text.replace(MARK, f"{i:08d}").encode() for i in range(1000)]

    def run(calls):
        """The CPU time of that many calls."""
        handler = index.handler
        start = process_time_ns()
        for i in range(calls):
            handler(events[i % 1000], Context)
        return process_time_ns() - start

else:
    import signing

    sign = signing.prepare(
        (Credentials.access_key_id, Credentials.access_key_secret, Credentials.security_token)
    )
    keys = [asked["key"].replace(MARK, f"{i:08d}") for i in range(1000)]

    def run(calls):
        """The CPU time of that many calls."""
        start = process_time_ns()
        for i in range(calls):
            sign(keys[i % 1000], headers, 1795341600 + i)
        return process_time_ns() - start


answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where a handler's log lines go
gc.collect()
for line in sys.stdin:
    print(run(int(line)), file=answers, flush=True)
