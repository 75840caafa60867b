"""One OSS stand-in through both of its fronts, so that the two cannot drift apart."""

from __future__ import annotations

import contextlib
import http.client
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import requests

from local.oss import Oss, mock_oss, serve
from local.oss_verify import (
    UNSIGNED,
    Attempt,
    Credential,
    canonical_query,
    canonical_uri,
    parse_query,
    signature_of,
)
from upload_url import signer

#: 2025-11-22T10:00:00Z
NOW = 1763805600
BUCKET = "examplebucket"
HOST = f"{BUCKET}.oss-cn-hangzhou.aliyuncs.com"
AKID, SECRET = "LTAIexample", "yourAccessKeySecret"
STS_AKID, STS_SECRET, TOKEN = "STS.example", "stsSecret", "CAIS+token/with=odd=="
CREDENTIALS = {
    AKID: Credential(SECRET),
    STS_AKID: Credential(STS_SECRET, TOKEN, NOW + 3600),
    "LTAIother": Credential("anotherSecret"),
    "STS.other": Credential("otherStsSecret", "CAISother"),
}


class Reply(NamedTuple):
    status: int
    #: Names lowered.
    headers: Mapping[str, str]
    body: bytes

    def field(self, name: str) -> str | None:
        """An element of an error's XML."""
        return ElementTree.fromstring(self.body).findtext(name)

    @property
    def code(self) -> str | None:
        return self.field("Code")

    @property
    def cause(self) -> str | None:
        return self.field("LikelyCause")


class Clock:
    """Stands still until told."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Front:
    """Sends requests to the stand-in, exactly as given: no header is added but a body's length and Host."""

    def __init__(self, oss: Oss) -> None:
        self.oss = oss

    def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Reply:
        """Send a request to a URL of OSS.

        Args:
            method: as it is to arrive.
            url: absolute; its host is OSS's, whatever front this is.
            body: bytes, or an iterable of bytes, which goes in chunks.
            headers: as they are to arrive.
        """
        raise NotImplementedError

    def put(self, url: str, body: Any = b"hello", **headers: str) -> Reply:
        """PUT with headers named as Python names: `content_type="text/plain"`."""
        return self.send("PUT", url, body, {name.replace("_", "-"): value for name, value in headers.items()})


class SocketFront(Front):
    def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Reply:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in pairs}
        host, slash, target = url.partition("://")[2].partition("/")
        connection = http.client.HTTPConnection(self.oss.address.partition("://")[2], timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, slash + target, skip_host=True, skip_accept_encoding=True)
            if "host" not in names:
                connection.putheader("Host", host)
            for name, value in pairs:
                connection.putheader(name, value)
            chunked = body is not None and not isinstance(body, bytes)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif body is not None and "content-length" not in names:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body, encode_chunked=chunked)
            # Either the stand-in has all it was promised, or it must see that there is no more.
            if isinstance(body, bytes) and "content-length" in names:
                connection.sock.shutdown(1)
            response = connection.getresponse()
            return Reply(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )


class ResponsesFront(Front):
    def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Reply:
        request = requests.Request(method, "http://placeholder", data=body).prepare()
        # requests would normalise the URL, and fold headers into a dictionary.
        request.url = url
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            twice = name in request.headers and name.lower() != "content-length"
            request.headers[name] = f"{request.headers[name]},{value}" if twice else value
        with requests.Session() as session:
            response = session.send(request)
            return Reply(
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                response.content,
            )


@contextlib.contextmanager
def front_of(kind: str, **options: Any) -> Iterator[Front]:
    """A stand-in with the bucket and the credentials of this module, behind one of its fronts."""
    options = {"credentials": CREDENTIALS, "clock": Clock(), **options}
    buckets = options.pop("buckets", (BUCKET,))
    if kind == "responses":
        with mock_oss(buckets, **options) as oss:
            yield ResponsesFront(oss)
    else:
        oss = Oss(buckets, **options)
        with contextlib.closing(oss), serve(oss):
            yield SocketFront(oss)


def presign(key: str = "folder/photo.png", method: str = "PUT", **options: Any) -> str:
    """A good URL, unless an option says otherwise."""
    access_key_id = options.pop("access_key_id", AKID)
    known = CREDENTIALS.get(access_key_id, Credential("unknown"))
    credentials = signer.Credentials(
        access_key_id, options.pop("secret", known.secret), options.pop("token", known.token) or ""
    )
    given: dict[str, Any] = {
        "base_url": f"http://{HOST}",
        "bucket": BUCKET,
        "region": "cn-hangzhou",
        "expires": 600,
        "now": NOW,
        **options,
    }
    headers = given.get("headers") or {}
    return signer.presign(credentials, key=key, method=method, additional_headers=headers, **given)


def signed_by_stages(
    path: str, query: str, change: Callable[[Attempt], Attempt] = lambda attempt: attempt
) -> str:
    """A URL that no signer of text makes: signed by the verifier's own stages.

    Args:
        path: behind the host, percent-encoded.
        query: with all that V4 asks for; what it says of a signature is left out.
        change: makes a mistake in what is signed.
    """
    query = "&".join(pair for pair in query.split("&") if not pair.startswith("x-oss-signature="))
    attempt = Attempt(
        method="PUT",
        bucket=BUCKET,
        path=path,
        params=parse_query(query),
        uri=canonical_uri(BUCKET, path),
        query=canonical_query(parse_query(query)),
        headers={},
        additional=(),
        payload=UNSIGNED,
        date="20251122T100000Z",
        region="cn-hangzhou",
        product="oss",
        secret=SECRET,
        signature="",
    )
    return f"http://{HOST}{path}?{query}&x-oss-signature={signature_of(change(attempt))}"


def files_of(oss: Oss) -> list[Path]:
    """Everything on the disk: for each object a file and its description."""
    return [path for path in oss._store._root.rglob("*") if path.is_file()]


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it is true, or the test has failed."""
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("It did not happen.")
