"""The function and the stand-in together, over sockets: many callers at once, and what goes wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import index
from local import fc, oss
from local.oss_verify import Credential
from tests.surroundings import bare_environment

ROOT = Path(__file__).parents[1]
WORKERS = 32
CYCLES = 2000


class Cloud:
    """Both, on their ports, and the environment in which the function runs."""

    def __init__(self, cloud, function, setenv, data):
        self.oss, self.function, self.setenv, self.data = cloud, function, setenv, data

    def files(self):
        return files_in(self.data)


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    for name in os.environ.keys() - bare_environment().keys():
        monkeypatch.delenv(name)
    known = {
        "STS.first": Credential("secret-1", "token/1+="),
        "STS.second": Credential("secret-2", "token/2+="),
    }
    data = tmp_path / "data"
    with oss.serve(oss.Oss(credentials=known, data=data)) as running:
        monkeypatch.setenv("OSS_BUCKET", oss.BUCKET)
        monkeypatch.setenv("OSS_REGION", oss.REGION)
        monkeypatch.setenv("OSS_ENDPOINT", running.address)
        with fc.serve(index.handler, runtime="python3.12") as function:
            yield Cloud(running, function, monkeypatch.setenv, data)


def use(cloud, number):
    """Puts credentials into the environment, as FC does on python3.12 when it renews them."""
    name = {1: "STS.first", 2: "STS.second"}[number]
    known = cloud.oss.credentials[name]
    cloud.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", name)
    cloud.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", known.secret)
    cloud.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", known.token)


class Client:
    """An uploader that keeps its two connections."""

    def __init__(self, *addresses):
        self._function, self._oss = [
            http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=60)
            for address in addresses
        ]

    def ask(self, fields, **headers):
        self._function.request(
            "POST", "/", json.dumps(fields), {"Content-Type": "application/json", **headers}
        )
        response = self._function.getresponse()
        return response.status, json.loads(response.read())

    def put(self, answer, body):
        self._oss.request("PUT", "/" + answer["url"].split("/", 3)[3], body, answer["headers"])
        response = self._oss.getresponse()
        return response.status, response.read()

    def close(self):
        self._function.close()
        self._oss.close()


def client(cloud):
    return contextlib.closing(Client(cloud.function, cloud.oss.address))


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def body_of(number):
    """Another for each number, in size as well: empty, small, larger than any buffer."""
    return hashlib.sha256(str(number).encode()).digest() * (number % 7 * (400 if number % 100 == 0 else 1))


def test_two_thousand_uploads_by_thirty_two_callers_at_once_lose_and_mix_nothing(cloud):
    use(cloud, 1)
    cloud.setenv("UPLOAD_IDENTITY_HEADER", "x-user-sub")
    stored = {}

    def work(worker):
        with client(cloud) as one:
            for number in range(worker, CYCLES, WORKERS):
                body = body_of(number)
                fields = {"filename": f"{number}.bin", "size": len(body), "metadata": {"number": str(number)}}
                status, answer = one.ask(fields, **{"X-User-Sub": f"caller-{worker}"})
                assert (status, answer["key"].startswith(f"caller-{worker}/")) == (200, True), answer
                assert one.put(answer, body)[0] == 200
                assert stored.setdefault(answer["key"], number) == number

    started = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))

    assert time.monotonic() - started < 60
    objects = cloud.oss.objects
    assert {key: int(it.headers["x-oss-meta-number"]) for key, it in objects.items()} == stored
    assert len(stored) == CYCLES
    assert all(objects[key].read() == body_of(number) for key, number in stored.items())
    assert len(cloud.files()) == 2 * CYCLES


def test_of_many_uploads_by_one_one_shot_url_exactly_one_is_stored(cloud):
    use(cloud, 1)
    cloud.setenv("UPLOAD_FORCED_HEADERS", '{"x-oss-forbid-overwrite":"true"}')
    with client(cloud) as one:
        _, answer = one.ask({"size": 1000})
    together = threading.Barrier(WORKERS)

    def work(worker):
        with client(cloud) as one:
            together.wait()
            return one.put(answer, bytes([worker]) * 1000)[0]

    with ThreadPoolExecutor(WORKERS) as pool:
        statuses = list(pool.map(work, range(WORKERS)))

    assert sorted(statuses) == [200] + [409] * (WORKERS - 1)
    assert cloud.oss.objects[answer["key"]].read() == bytes([statuses.index(200)]) * 1000
    assert len(cloud.files()) == 2


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_uploads_that_are_cut_store_nothing_and_can_be_sent_again(cloud, reset):
    use(cloud, 1)
    body = b"x" * 200_000

    def work(worker):
        with client(cloud) as one:
            _, answer = one.ask({"size": len(body)})
            host, port = cloud.oss.address.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                target = "/" + answer["url"].split("/", 3)[3]
                head = f"PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body[: worker * 6000])
            cut = cloud.oss.objects.get(answer["key"])
            return cut, answer["key"], one.put(answer, body)[0]

    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = list(pool.map(work, range(WORKERS)))

    assert [cut for cut, _, _ in outcomes] == [None] * WORKERS
    assert [status for _, _, status in outcomes] == [200] * WORKERS
    assert all(cloud.oss.objects[key].read() == body for _, key, _ in outcomes)
    wait_until(lambda: len(cloud.files()) == 2 * WORKERS)


def test_slow_senders_hold_nobody_up_and_are_stored_whole(cloud):
    use(cloud, 1)

    def slow(worker):
        with client(cloud) as one:
            _, answer = one.ask({"size": 20})
            body = bytes([worker]) * 20

            def drops():
                for at in range(20):
                    time.sleep(0.05)
                    yield body[at : at + 1]

            answer["headers"]["Content-Length"] = "20"
            return one.put(answer, drops())[0], answer["key"]

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [pool.submit(slow, worker) for worker in range(WORKERS)]
        with client(cloud) as one:
            for number in range(50):
                assert one.put(one.ask({"key": f"fast-{number}"})[1], b"fast")[0] == 200
        fast_done = sum(one.done() for one in waiting)
        outcomes = [one.result() for one in waiting]

    assert fast_done < WORKERS
    assert [status for status, _ in outcomes] == [200] * WORKERS
    assert [cloud.oss.objects[key].read() for _, key in outcomes] == [
        bytes([one]) * 20 for one in range(WORKERS)
    ]


def test_a_clock_that_jumps_ends_urls_and_begins_them_again(cloud):
    use(cloud, 1)
    now = time.time()
    outcomes = {}

    with client(cloud) as one:
        _, answer = one.ask({"key": "a"})
        for ahead in (0, 590, 700, 40 * 86400, 0, -800, -1000, 0):
            cloud.oss.clock = lambda ahead=ahead: now + ahead
            status, text = one.put(answer, b"x")
            outcomes.setdefault(ahead, []).append(
                (status, text.partition(b"<Message>")[2].partition(b"<")[0])
            )

    assert outcomes == {
        0: [(200, b"")] * 3,
        590: [(200, b"")],
        700: [(403, b"Request has expired.")],
        40 * 86400: [(403, b"Request has expired.")],
        -800: [(200, b"")],
        -1000: [(403, b"Request is not yet valid.")],
    }


def test_the_functions_own_clock_may_jump_over_midnight_and_back(cloud, monkeypatch):
    use(cloud, 1)
    midnight = int(time.time()) // 86400 * 86400
    keys = []

    with client(cloud) as one:
        for second in (midnight - 1, midnight, midnight - 1, midnight + 86400, midnight - 86400):
            monkeypatch.setattr(index.time, "time", lambda second=second: second)
            cloud.oss.clock = lambda second=second: second + 0.5
            _, answer = one.ask({})
            keys.append(answer["key"])
            assert one.put(answer, b"x")[0] == 200

    assert set(cloud.oss.objects) == set(keys)


def test_credentials_may_change_end_vanish_and_return_between_two_calls(cloud, monkeypatch):
    with client(cloud) as one:
        assert one.ask({})[1]["code"] == "CredentialsMissing"
        use(cloud, 1)
        _, first = one.ask({"key": "first"})
        use(cloud, 2)
        _, second = one.ask({"key": "second"})
        assert [one.put(first, b"1")[0], one.put(second, b"2")[0]] == [200, 200]

        first_ended = cloud.oss.credentials["STS.first"]._replace(expires=time.time() - 1)
        cloud.oss.credentials["STS.first"] = first_ended
        status, text = one.put(first, b"3")
        assert (status, b"SecurityTokenExpired" in text) == (403, True)
        del cloud.oss.credentials["STS.first"]
        status, text = one.put(first, b"3")
        assert (status, b"InvalidAccessKeyId" in text) == (403, True)
        assert one.put(second, b"22")[0] == 200

        monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
        status, answer = one.ask({})
        assert (status, answer["code"]) == (500, "CredentialsMissing")
        use(cloud, 2)
        assert one.put(one.ask({"key": "third"})[1], b"3")[0] == 200

    assert {key: it.read() for key, it in cloud.oss.objects.items()} == {
        "first": b"1",
        "second": b"22",
        "third": b"3",
    }


def test_settings_that_break_and_are_mended_between_two_calls(cloud):
    use(cloud, 1)

    with client(cloud) as one:
        assert one.ask({"key": "a"})[0] == 200
        cloud.setenv("UPLOAD_PREFIX", "no-slash")
        assert one.ask({"key": "a"})[1]["code"] == "Misconfigured"
        assert one.ask({"key": "a"})[1]["code"] == "Misconfigured"
        cloud.setenv("UPLOAD_PREFIX", "u/")
        assert one.ask({"key": "a"})[1]["code"] == "KeyNotAllowed"
        assert one.ask({"key": "u/a"})[0] == 200


@contextlib.contextmanager
def on_a_disk_with(size, data):
    """`python3 -m local` that cannot write a file of more than so many bytes; its addresses by name."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    with subprocess.Popen(
        [sys.executable, "-B", "-m", "local", "--data", str(data)],
        cwd=ROOT,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=limit,
    ) as process:
        yield dict(process.stdout.readline().split() for _ in range(3))
        process.terminate()


@pytest.mark.parametrize(
    ("size", "good", "bad"),
    [(100_000, 50_000, 150_000), (100_000, 0, 150_000), (150, None, 10)],
    ids=["body", "body after an empty object", "what describes it"],
)
def test_a_full_disk_is_a_500_that_leaves_the_old_object_and_nothing_else(tmp_path, size, good, bad):
    with on_a_disk_with(size, tmp_path) as addresses:
        with contextlib.closing(Client(addresses["function"], addresses["oss"])) as one:
            if good is not None:
                assert one.put(one.ask({"key": "a"})[1], b"g" * good)[0] == 200
            before = files_in(tmp_path)
            status, text = one.put(one.ask({"key": "a"})[1], b"b" * bad)
            after = files_in(tmp_path)
        with contextlib.closing(Client(addresses["function"], addresses["oss"])) as one:
            asked_again, _ = one.ask({"key": "b"})

    assert (status, b"<Code>InternalError</Code>" in text) == (500, True)
    assert asked_again == 200
    assert after == before
    again = oss.Oss(data=tmp_path)
    assert {key: it.read() for key, it in again.objects.items()} == (
        {} if good is None else {"a": b"g" * good}
    )
