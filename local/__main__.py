"""`python3 -m local`: the function and OSS on this machine, or files uploaded through both."""

# The rules of the output:
#  - standard output has what was asked for: the addresses and the session to paste, or a line per stored
# file;
#  - standard error has the rest: one line per request while serving, and errors, which begin with "local: ",
#    have no capital at the start and no full stop at the end;
#  - the exit is 0, 1 for a failure, 2 for wrong usage, and 0 after Ctrl-C, which prints nothing.
# Nothing here prints a URL that is signed, a signature, a token or a secret.

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import threading
from collections.abc import MutableMapping
from pathlib import Path

from . import fc, oss
from .oss_verify import Credential

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    options = _parse(arguments)
    environ = os.environ
    bucket = environ.get("OSS_BUCKET") or oss.BUCKET
    region = environ.get("OSS_REGION") or environ.get("FC_REGION") or oss.REGION
    role = _credentials(environ)
    credential = Credential(role.access_key_secret, role.security_token or None)
    cloud = oss.Oss(
        [bucket], region=region, credentials={role.access_key_id: credential}, data=options.data, log=_log
    )
    with contextlib.ExitStack() as stack:
        stack.callback(cloud.close)
        stack.enter_context(oss.serve(cloud, options.oss_port))
        environ.setdefault("OSS_BUCKET", bucket)
        environ.setdefault("OSS_REGION", region)
        environ.setdefault("OSS_ENDPOINT", cloud.address)
        environ.setdefault("CORS_ORIGINS", "*")
        sys.path.insert(0, str(ROOT / "src"))
        handler: fc.Handler = importlib.import_module("index").handler
        function = stack.enter_context(
            fc.serve(handler, options.function_port, credentials=role, region=region, log=_log)
        )
        _print_session(function, cloud.address)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m local", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path)
    parser.add_argument("--function-port", type=int, default=0, metavar="PORT")
    parser.add_argument("--oss-port", type=int, default=0, metavar="PORT")
    parser.add_argument("--data", type=Path, metavar="DIR")
    return parser.parse_args(arguments)


def _credentials(environ: MutableMapping[str, str]) -> fc.Credentials:
    key = environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID")
    secret = environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if key and secret:
        return fc.Credentials(key, secret, environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""))
    local = oss.CREDENTIALS[oss.ACCESS_KEY_ID]
    return fc.Credentials(oss.ACCESS_KEY_ID, local.secret, local.token or "")


def _print_session(function: str, address: str) -> None:
    print(f"function  {function}/")
    print(f"oss       {address}")
    print(f"page      {function}/page/")
    print()
    print(
        f"""curl -sS {function}/ -H 'Content-Type: application/json' \\
  -d '{{"filename":"README.md","contentType":"text/markdown"}}' > answer.json
curl -sS -X PUT -H 'Content-Type: text/markdown' -T README.md \\
  "$(python3 -c 'import json; print(json.load(open("answer.json"))["url"])')" """,
        flush=True,
    )


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
