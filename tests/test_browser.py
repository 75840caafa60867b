"""The page, the module and the Uppy recipe in a real Chromium, against the function and OSS on real ports.

The page is hosted as its README says, on an origin of its own: what it does, it does across origins.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

import index
from local import fc, oss
from tests.test_clients_patience import listening

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "clients/browser/README.md").read_text()
#: What the samples call the function.
SAMPLE = "https://my-function.fcapp.run/"
NODE_PROJECT = ROOT / "tests/browser"
MB = 10**6
ROLE = fc.Credentials(
    oss.ACCESS_KEY_ID, oss.CREDENTIALS[oss.ACCESS_KEY_ID].secret, oss.CREDENTIALS[oss.ACCESS_KEY_ID].token
)

#: Where two cores run everything at once, five seconds are not long.
expect.set_options(timeout=15_000)


def tool(name: str) -> str:
    """Where it is. Without it a laptop skips the test, and CI fails."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")
    return path


# ---- what the tests stand on ----


class Bucket(oss.Oss):
    """The stand-in, with what a test may do to it: be late, keep silent, hide its refusals as OSS may."""

    def __init__(self, **options: Any) -> None:
        super().__init__(clock=lambda: time.time() + self.late, **options)
        self.late = 0.0
        self.answers = threading.Event()
        self.answers.set()
        self.hides_refusals = False
        self.puts: list[dict[str, str]] = []

    def respond(self, method: str, url: str, headers: Any = (), body: Any = b"") -> Any:
        if method == "PUT":
            self.puts.append({name.lower(): value for name, value in headers})
            self.answers.wait(30)
        status, answered, content = super().respond(method, url, headers, body)
        if self.hides_refusals and method != "OPTIONS" and status != 200:
            answered = {name: answered[name] for name in answered if not name.startswith("Access-Control-")}
        return status, answered, content

    @property
    def sizes(self) -> list[int]:
        return sorted(stored.size for stored in self.objects.values())


class Cloud:
    """The function and the bucket, on their ports."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.function = ""
        self.asked: list[dict[str, Any]] = []
        self.before_answer: Callable[[], None] = lambda: None

    def handler(self, event: bytes, context: Any) -> dict[str, object]:
        request = json.loads(event)
        if request["requestContext"]["http"]["method"] == "POST":
            self.asked.append(
                {**json.loads(request["body"]), "authorization": request["headers"].get("Authorization")}
            )
            self.before_answer()
        return index.handler(event, context)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    bucket = Bucket()
    cloud = Cloud(bucket)
    with oss.serve(bucket), fc.serve(cloud.handler, credentials=ROLE) as cloud.function:
        monkeypatch.setenv("OSS_BUCKET", oss.BUCKET)
        monkeypatch.setenv("OSS_REGION", oss.REGION)
        monkeypatch.setenv("OSS_ENDPOINT", bucket.address)
        monkeypatch.setenv("CORS_ORIGINS", "*")
        yield cloud
    bucket.close()


class Host(http.server.ThreadingHTTPServer):
    """Somebody's static web server."""

    def __init__(self, folder: Path) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

            def do_POST(self) -> None:
                self.send_response(301 if self.path == "/moved" else 501)
                self.send_header("Location", "/answer.json")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.folder = folder
        self.origin = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "public"
    folder.mkdir()
    with Host(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[], Browser]]:
    """Gives the browser: one for all tests, and another one after it has crashed."""
    path = tool("chromium")
    with sync_playwright() as playwright:
        launch = partial(
            playwright.chromium.launch,
            executable_path=path,
            args=[
                "--no-sandbox",  # CI runs as root
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        browser = launch()

        def running() -> Browser:
            nonlocal browser
            if not browser.is_connected():
                browser = launch()
            return browser

        yield running
        browser.close()


@pytest.fixture
def tab(chromium: Callable[[], Browser]) -> Iterator[Page]:
    """A tab. Whatever throws in it fails the test, and so does what its policy stops."""
    context = chromium().new_context()
    context.set_default_timeout(15_000)
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None
    )
    yield tab
    context.close()
    assert errors == []


@pytest.fixture
def page(cloud: Cloud, host: Host, tab: Page) -> Page:
    """The upload page, hosted as the README says, and open."""
    command = re.search(r"^cp .* public/$", README, re.MULTILINE)
    assert command
    subprocess.run(command[0].replace(" public/", f" {host.folder}/"), shell=True, check=True, cwd=ROOT)
    markup = host.folder / "index.html"
    text = markup.read_text()
    assert text.count('data-endpoint="/"') == 1
    markup.write_text(text.replace('data-endpoint="/"', f'data-endpoint="{cloud.function}/"'))
    tab.goto(f"{host.origin}/")
    return tab


def make(folder: Path, name: str, content: bytes = b"content") -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return str(path)


def sparse(folder: Path, name: str, size: int) -> str:
    with (folder / name).open("wb") as file:
        file.truncate(size)
    return str(folder / name)


def choose(page: Page, *paths: str) -> None:
    page.get_by_label("Choose files").set_input_files(paths)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))


@pytest.fixture
def throttle(tab: Page) -> Callable[[int], None]:
    """Sets how many bytes a second go up; -1 is no limit."""
    devtools = tab.context.new_cdp_session(tab)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}

    def throttle(bytes_per_second: int) -> None:
        devtools.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": bytes_per_second})

    return throttle


def call(page: Page, script: str, *arguments: object) -> Any:
    """What a function with `upload`, `ask` and `put` in scope returns, or the error that it throws."""
    return page.evaluate(
        f"""async (given) => {{
          const {{ upload, ask, put }} = await import("./upload.js");
          try {{ return await ({script})(...given); }}
          catch (error) {{ return {{ ...error, name: error.name, message: error.message }}; }}
        }}""",
        arguments,
    )


# ---- the page ----


def test_the_page_of_python_m_local_stores_a_file(tab: Page, tmp_path: Path) -> None:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("OSS_", "UPLOAD_", "CORS_"))
    }
    with subprocess.Popen(
        [sys.executable, "-m", "local"],
        cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            lines = (line.split() for line in process.stdout)
            address = next(line[1] for line in lines if line[0] == "page")

            tab.goto(address.removesuffix("/"))
            choose(tab, make(tmp_path, "a.txt"))

            expect(row(tab, "a.txt")).to_contain_text("Stored")
        finally:
            process.terminate()


@pytest.mark.parametrize("opener", ["Enter", "Space"])
def test_files_are_picked_by_keyboard_and_stored_as_they_are(
    page: Page, cloud: Cloud, tmp_path: Path, opener: str
) -> None:
    contents = {"报告 2026 最终版.pdf": b"pdf", "no type": b"?", "empty.txt": b"", "photo.PNG": b"\x89PNG"}
    paths = [make(tmp_path, name, content) for name, content in contents.items()]

    # Not by expect_file_chooser, which asks the browser for the event while the key is already under way.
    page.on("filechooser", lambda chooser: chooser.set_files(paths))

    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose files")).to_be_focused()
    page.keyboard.press(opener)

    expect(page.get_by_role("heading", name="4 of 4 stored")).to_be_visible()
    stored = {
        name: cloud.bucket.objects[row(page, name).get_by_role("code").inner_text()] for name in contents
    }
    assert {name: found.read() for name, found in stored.items()} == contents
    assert {Path(found.key).suffix for found in stored.values()} == {".pdf", "", ".txt", ".png"}
    # A Content-Type goes out where one is bound, and only there.
    assert sorted(put.get("content-type", "") for put in cloud.bucket.puts) == [
        "", "application/pdf", "image/png", "text/plain",
    ]  # fmt: skip


def test_dropped_files_and_folders_are_stored(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    one = make(tmp_path, "one.txt")
    make(tmp_path, "folder/two.txt")
    make(tmp_path / "folder", "deep/three.txt")
    data = {"items": [], "files": [one, str(tmp_path / "folder")], "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)

    for kind in ("dragEnter", "dragOver", "drop"):
        # Beside the zone: the whole page takes it.
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 5, "y": 600, "data": data})

    expect(page.get_by_role("heading", name="3 of 3 stored")).to_be_visible()
    assert cloud.bucket.sizes == [7, 7, 7]


def test_a_pasted_file_is_stored(page: Page, cloud: Cloud) -> None:
    page.evaluate("""() => {
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File(["shot"], "shot.png", { type: "image/png" }));
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }""")

    expect(row(page, "shot.png")).to_contain_text("Stored")
    assert cloud.bucket.sizes == [4]


def test_64_megabytes_are_stored(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    choose(page, sparse(tmp_path, "big.bin", 64 * 2**20))

    expect(row(page, "big.bin")).to_contain_text("Stored", timeout=60_000)
    assert cloud.bucket.sizes == [64 * 2**20]


def test_a_hostile_name_is_only_text(page: Page, tmp_path: Path) -> None:
    name = "<img src=x onerror=document.title=1>\u202egpj.exe"

    choose(page, make(tmp_path, name))

    expect(row(page, name)).to_contain_text("Stored")
    assert page.locator("main img").count() == 1  # the page's own
    assert page.title() == "Upload files"


def test_the_browser_would_stop_the_page_from_making_markup_of_strings(page: Page) -> None:
    outcome = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>'; } catch (error) { return error.name; } }"
    )

    assert outcome == "TypeError"


def test_progress_moves_with_the_speed_beside_it(
    page: Page, throttle: Callable[[int], None], tmp_path: Path
) -> None:
    throttle(2 * MB)

    choose(page, sparse(tmp_path, "film.mov", 4 * MB))

    bar = page.get_by_role("progressbar", name="Progress of film.mov")
    expect(row(page, "film.mov").locator(".status")).to_have_text(
        re.compile(r"^[\d.]+ (kB|MB) of 4 MB, [\d.]+ (kB|MB)/s, \d+ sec left$")
    )
    page.wait_for_function("bar => bar.value > 0.2", arg=bar.element_handle())
    early = bar.evaluate("bar => bar.value")
    page.wait_for_function("([bar, early]) => bar.value > early", arg=[bar.element_handle(), early])
    assert early < 1
    expect(row(page, "film.mov")).to_contain_text("Stored")
    assert bar.evaluate("bar => bar.value") == 1


def test_cancel_stops_an_upload_and_retry_starts_it_again(
    page: Page, throttle: Callable[[int], None], cloud: Cloud, tmp_path: Path
) -> None:
    throttle(4 * MB)
    # More than the kernel's buffers take: of what is in them, the storage may hear after the end.
    choose(page, sparse(tmp_path, "film.mov", 64 * MB))
    expect(row(page, "film.mov")).to_contain_text("MB of 64 MB")

    page.get_by_role("button", name="Cancel: film.mov").click()

    expect(row(page, "film.mov")).to_contain_text("Cancelled")
    assert cloud.bucket.sizes == []
    throttle(-1)
    page.keyboard.press("Enter")  # the focus is still on the button
    expect(row(page, "film.mov")).to_contain_text("Stored")
    assert cloud.bucket.sizes == [64 * MB]
    assert len(cloud.asked) == 2


def test_a_file_that_waits_has_no_url_yet_and_can_be_cancelled(
    page: Page, throttle: Callable[[int], None], cloud: Cloud, tmp_path: Path
) -> None:
    throttle(MB)
    names = ["1.bin", "2.bin", "3.bin", "4.bin", "5.bin"]
    choose(page, *[sparse(tmp_path, name, MB) for name in names])
    expect(row(page, "3.bin")).to_contain_text("of 1 MB")

    page.get_by_role("button", name="Cancel: 4.bin").click()

    expect(row(page, "4.bin")).to_contain_text("Cancelled")
    expect(row(page, "5.bin")).to_contain_text("Waiting")
    assert len(cloud.asked) == 3
    expect(page.get_by_role("heading", name="4 of 5 stored")).to_be_visible()
    assert len(cloud.asked) == 4


def test_leaving_in_the_middle_is_asked_about(
    page: Page, throttle: Callable[[int], None], cloud: Cloud, tmp_path: Path
) -> None:
    throttle(MB)
    choose(page, sparse(tmp_path, "film.mov", 4 * MB))
    expect(row(page, "film.mov")).to_contain_text("MB of 4 MB")

    with page.expect_event("dialog") as dialog:
        page.close(run_before_unload=True)

    assert dialog.value.type == "beforeunload"
    dialog.value.dismiss()
    throttle(-1)
    expect(row(page, "film.mov")).to_contain_text("Stored")
    assert cloud.bucket.sizes == [4 * MB]


def test_the_key_is_copied(page: Page, cloud: Cloud, host: Host, tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=host.origin)
    choose(page, make(tmp_path, "a.txt"))

    page.get_by_role("button", name="Copy key: a.txt").click()

    expect(row(page, "a.txt")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == next(iter(cloud.bucket.objects))


def test_a_refusal_of_the_function_is_shown_with_its_reason(
    page: Page, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UPLOAD_TYPES", "image/*")

    choose(page, make(tmp_path, "a.html"))

    expect(row(page, "a.html")).to_contain_text("This content type may not be uploaded. Allowed: image/*.")
    expect(row(page, "a.html").get_by_role("code")).to_have_text(
        re.compile(r"^403 · ContentTypeNotAllowed · 1-")
    )
    expect(page.get_by_role("heading", name="0 of 1 stored, 1 failed")).to_be_visible()
    assert cloud.bucket.puts == []


def test_a_refusal_of_oss_is_shown_with_its_reason_and_can_be_retried(
    page: Page, cloud: Cloud, tmp_path: Path
) -> None:
    known = dict(cloud.bucket.credentials)
    cloud.bucket.credentials.clear()

    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text(
        "The OSS Access Key Id you provided does not exist in our records."
    )
    expect(row(page, "a.txt").get_by_role("code")).to_have_text(
        re.compile(r"^403 · InvalidAccessKeyId · [0-9A-F]{24}$")
    )
    cloud.bucket.credentials.update(known)
    page.get_by_role("button", name="Retry: a.txt").click()
    expect(row(page, "a.txt")).to_contain_text("Stored")


def test_an_expired_url_is_asked_for_again(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    cloud.bucket.late = 3600

    def again() -> None:
        if len(cloud.asked) == 2:
            cloud.bucket.late = 0

    cloud.before_answer = again
    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text("Stored")
    assert len(cloud.asked) == 2


def test_an_expired_url_is_asked_for_again_only_once(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    cloud.bucket.late = 3600

    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text("Request has expired")
    assert len(cloud.asked) == len(cloud.bucket.puts) == 2


def test_an_expired_url_is_asked_for_again_even_if_oss_hides_why(
    page: Page, cloud: Cloud, tmp_path: Path
) -> None:
    cloud.bucket.hides_refusals = True
    cloud.bucket.late = 3600
    cloud.bucket.answers.clear()

    def again() -> None:
        if len(cloud.asked) == 2:
            cloud.bucket.late = 0

    cloud.before_answer = again
    with page.expect_request(lambda request: request.method == "PUT"):
        choose(page, make(tmp_path, "a.txt"))
    page.clock.set_system_time(time.time() + 3600)  # the laptop was asleep
    cloud.bucket.answers.set()

    expect(row(page, "a.txt")).to_contain_text("Stored")
    assert len(cloud.asked) == 2


def test_a_refusal_that_oss_hides_is_explained(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    cloud.bucket.hides_refusals = True
    cloud.bucket.credentials.clear()

    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text("its refusals may come without CORS headers")
    expect(row(page, "a.txt").get_by_role("code")).to_have_text("AnswerHidden")
    assert len(cloud.bucket.puts) == 1


def test_a_bucket_without_cors_rules_is_explained(
    page: Page, cloud: Cloud, host: Host, tmp_path: Path
) -> None:
    cloud.bucket.cors = []

    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text(
        f"the bucket's CORS rules do not allow this PUT from {host.origin}"
    )
    assert cloud.bucket.puts == []


def test_a_function_that_does_not_list_the_origin_is_explained(
    page: Page, cloud: Cloud, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://app.example.com")

    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text(f"Its CORS_ORIGINS must list {host.origin}.")
    assert cloud.asked == []


def test_a_listed_origin_is_enough(
    page: Page, cloud: Cloud, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"https://app.example.com, {host.origin}")
    cloud.bucket.cors = [oss.CorsRule(origins=(host.origin,), methods=("PUT",))]

    choose(page, make(tmp_path, "a.txt"))

    expect(row(page, "a.txt")).to_contain_text("Stored")


def test_an_upload_goes_on_when_the_connection_is_back(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    page.context.set_offline(True)
    choose(page, make(tmp_path, "a.txt"))
    expect(row(page, "a.txt")).to_contain_text(
        re.compile(r"No connection to 127\.0\.0\.1:\d+\. Trying again\.")
    )

    page.context.set_offline(False)

    expect(row(page, "a.txt")).to_contain_text("Stored")


def test_a_file_changed_after_it_was_chosen_is_named_as_the_reason(
    page: Page, cloud: Cloud, tmp_path: Path
) -> None:
    path = make(tmp_path, "a.txt")
    cloud.before_answer = lambda: (Path(path).write_bytes(b"something else"), None)[1]

    choose(page, path)

    expect(row(page, "a.txt")).to_contain_text("The file can no longer be read.")


def test_results_are_told_to_screen_readers(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UPLOAD_TYPES", "text/plain")

    choose(page, make(tmp_path, "a.txt"), make(tmp_path, "b.png"))

    log = page.get_by_role("log")
    expect(log).to_contain_text("a.txt: Stored")
    expect(log).to_contain_text("b.png: ")
    expect(page.get_by_role("progressbar", name="Progress of a.txt")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_an_accessibility_audit_finds_nothing(
    page: Page, node_modules: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, width: int, scheme: Any
) -> None:
    monkeypatch.setenv("UPLOAD_TYPES", "text/plain")
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    choose(page, make(tmp_path, "a" * 100 + ".txt"), make(tmp_path, "refused.png"))
    expect(page.get_by_role("heading", name="1 of 2 stored, 1 failed")).to_be_visible()

    page.evaluate((node_modules / "axe-core/axe.min.js").read_text())
    found = page.evaluate("axe.run({ preload: false })")

    assert [violation["help"] for violation in found["violations"]] == []
    assert len(found["passes"]) > 20
    assert page.evaluate("document.documentElement.scrollWidth") == width


# ---- the module alone ----


def test_metadata_and_storage_class_are_bound_and_stored(page: Page, cloud: Cloud) -> None:
    answer = call(
        page,
        """(endpoint) => upload(endpoint, new File(["x"], "a.txt", { type: "text/plain" }), {
          fields: {
            key: "我的 照片/a+b %20.txt",
            metadata: { album: "2026" },
            headers: { "x-oss-storage-class": "IA" },
          },
        })""",
        cloud.function,
    )

    assert answer["key"] == "我的 照片/a+b %20.txt"
    stored = cloud.bucket.objects[answer["key"]]
    assert (stored.headers["x-oss-meta-album"], stored.headers["x-oss-storage-class"]) == ("2026", "IA")


def test_an_answer_is_enough_to_put(page: Page, cloud: Cloud) -> None:
    body = call(
        page,
        """async (endpoint) => {
          const blob = new Blob(["12345"]);
          return put(await ask(endpoint, blob), blob);
        }""",
        cloud.function,
    )

    assert body == ""
    assert cloud.bucket.sizes == [5]


def test_a_typed_file_brings_no_type_of_its_own(page: Page, cloud: Cloud) -> None:
    call(
        page,
        """(endpoint) => {
          const file = new File(["x"], "a.txt", { type: "text/plain" });
          return upload(endpoint, file, { fields: { contentType: undefined } });
        }""",
        cloud.function,
    )

    assert cloud.bucket.sizes == [1]
    assert "content-type" not in cloud.bucket.puts[0]


def test_an_authorization_reaches_the_function_and_not_oss(page: Page, cloud: Cloud) -> None:
    call(
        page,
        "(endpoint) => upload(endpoint, new Blob(['x']), { authorization: 'Bearer abc' })",
        cloud.function,
    )

    assert [asked["authorization"] for asked in cloud.asked] == ["Bearer abc"]
    assert "authorization" not in cloud.bucket.puts[0]
    assert cloud.bucket.sizes == [1]


def test_a_refusal_carries_the_functions_fields(
    page: Page, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOAD_MAX_BYTES", "3")

    error = call(page, "(endpoint) => upload(endpoint, new Blob(['1234']))", cloud.function)

    assert (error["name"], error["status"], error["code"]) == ("UploadError", 413, "SizeNotAllowed")
    assert error["problem"]["limit"] == 3
    assert len(cloud.asked) == 1


def test_an_aborted_upload_rejects_with_the_signals_reason(
    page: Page, throttle: Callable[[int], None], cloud: Cloud
) -> None:
    throttle(MB)

    error = call(
        page,
        """(endpoint) => {
          const controller = new AbortController();
          const onProgress = () => controller.abort();
          return upload(endpoint, new Blob([new Uint8Array(4e6)]), { signal: controller.signal, onProgress });
        }""",
        cloud.function,
    )

    assert error["name"] == "AbortError"
    assert cloud.bucket.sizes == []


def test_an_upload_that_stalls_counts_as_a_lost_connection(page: Page, cloud: Cloud) -> None:
    cloud.bucket.answers.clear()

    error = call(
        page,
        "(endpoint) => upload(endpoint, new Blob(['x']), { stallTimeout: 300, retries: 0 })",
        cloud.function,
    )

    cloud.bucket.answers.set()
    assert (error["code"], error["temporary"]) == ("NetworkError", True)


@pytest.mark.parametrize("beginning", ["", "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n\r\n{"])
def test_a_function_that_never_answers_counts_as_a_lost_connection(page: Page, beginning: str) -> None:
    preflight = (
        "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n"
        "Access-Control-Allow-Headers: content-type\r\n\r\n"
    )

    def treat(connection: socket.socket) -> None:
        while asked := connection.recv(65536):
            connection.sendall((preflight if asked.startswith(b"OPTIONS") else beginning).encode())

    with listening(treat) as function:
        error = call(
            page,
            "(endpoint) => upload(endpoint, new Blob(['x']), { stallTimeout: 500, retries: 0 })",
            function,
        )

    assert (error["code"], error["temporary"]) == ("NetworkError", True)
    assert error["message"] == f"No answer from {function.removeprefix('http://')}."


def refuse_and_be_silent(connection: socket.socket) -> None:
    """Lets no page in, and does not answer the question whether anybody is there."""
    while asked := connection.recv(65536):
        if asked.startswith(b"OPTIONS"):
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


def test_the_search_for_a_hidden_answer_ends(page: Page) -> None:
    with listening(refuse_and_be_silent) as function:
        error = call(
            page,
            "(endpoint) => upload(endpoint, new Blob(['x']), { stallTimeout: 500, retries: 0 })",
            function,
        )

    assert error["code"] == "NetworkError"
    assert error["message"].startswith("No connection to 127.0.0.1:")


def test_the_search_for_a_hidden_answer_can_be_aborted(page: Page) -> None:
    with listening(refuse_and_be_silent) as function:
        error = call(
            page,
            "(endpoint) => upload(endpoint, new Blob(['x']), { signal: AbortSignal.timeout(500) })",
            function,
        )

    assert error["name"] == "TimeoutError"


def test_an_upload_that_is_aborted_beforehand_asks_nobody(page: Page, cloud: Cloud) -> None:
    error = call(
        page,
        "(endpoint) => upload(endpoint, new Blob(['x']), { signal: AbortSignal.abort() })",
        cloud.function,
    )

    assert error["name"] == "AbortError"
    assert cloud.asked == []


def test_what_is_not_the_function_is_named_at_once(page: Page) -> None:
    error = call(
        page,
        """() => {
          const onRetry = () => { throw new Error("retried"); };
          return upload("page.js", new Blob(["x"]), { onRetry }); // where a static server takes no POST
        }""",
    )

    assert (error["status"], error["code"]) == (501, "UnknownAnswer")
    assert "did not answer as the upload function does" in error["message"]


@pytest.mark.parametrize(
    "answer",
    [
        {"url": "https://b.example/k"},
        {"url": "https://b.example/k", "headers": None},
        {"headers": {}},
        [],
        None,
    ],
    ids=["no headers", "null for headers", "no url", "list", "null"],
)
def test_an_answer_that_is_no_upload_is_an_error_of_ours(page: Page, answer: object) -> None:
    page.route("**/half", lambda route: route.fulfill(json=answer))

    error = call(page, "() => upload('half', new Blob(['x']))")

    assert (error["name"], error["status"], error["code"]) == ("UploadError", 200, "UnknownAnswer")


def test_the_progress_of_nothing_is_not_told(page: Page, cloud: Cloud, tmp_path: Path) -> None:
    # A browser may say so much of an empty file; Chromium does not.
    page.evaluate("""() => {
      const { send } = XMLHttpRequest.prototype;
      XMLHttpRequest.prototype.send = function (body) {
        send.call(this, body);
        this.upload.dispatchEvent(new ProgressEvent("progress", { loaded: 0, total: body.size }));
      };
    }""")

    choose(page, make(tmp_path, "empty.txt", b""))

    expect(row(page, "empty.txt")).to_contain_text("Stored")
    assert cloud.bucket.sizes == [0]


def test_the_sample_of_the_readme_runs(page: Page, cloud: Cloud, host: Host) -> None:
    sample = re.search(r"^```js\n(import \{ upload.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert sample
    assert sample[1].count(SAMPLE) == 1
    (host.folder / "sample.js").write_text(
        'const file = new File(["x"], "a.txt");\n' + sample[1].replace(SAMPLE, f"{cloud.function}/")
    )
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))

    page.evaluate("import('./sample.js')")

    (stored,) = cloud.bucket.objects.values()
    assert said == ["1 of 1 bytes", stored.key]
    assert stored.headers["x-oss-meta-album"] == "2026"


def test_a_redirect_of_the_question_is_not_followed(page: Page, host: Host) -> None:
    (host.folder / "answer.json").write_text('{"url": "/", "method": "PUT", "headers": {}}')

    error = call(page, "() => upload('moved', new Blob(['x']))")

    assert (error["name"], error["code"]) == ("UploadError", "UnknownAnswer")


# ---- Uppy ----


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """What package-lock.json names, installed."""
    npm = tool("npm")
    marker = NODE_PROJECT / "node_modules/.package-lock.json"
    lock = NODE_PROJECT / "package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(
            [npm, "ci", "--no-progress"], cwd=NODE_PROJECT, check=True, capture_output=True, timeout=300
        )
    return NODE_PROJECT / "node_modules"


def recipe(version: str) -> str:
    """The README's code for that version of Uppy; the part before it is for both."""
    blocks = re.findall(r"^```js\n// uppy-(\d)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    code = dict(blocks)
    return code["6"] if version == "6" else code["6"].partition("export")[0] + code["5"]


@pytest.fixture(params=["5", "6"])
def uppy(request: pytest.FixtureRequest, cloud: Cloud, host: Host, tab: Page, node_modules: Path) -> Page:
    """A page with the README's recipe as `recipe`, bundled as anyone would."""
    code = recipe(request.param)
    assert code.count(SAMPLE) == 1
    bundle = ["--bundle", "--format=iife", "--global-name=recipe", f"--outfile={host.folder / 'recipe.js'}"]
    subprocess.run(
        [tool("node"), node_modules / "esbuild/bin/esbuild", "--log-level=warning", *bundle],
        cwd=NODE_PROJECT / f"uppy-{request.param}",
        input=code.replace(SAMPLE, f"{cloud.function}/"),
        text=True,
        check=True,
        timeout=60,
    )
    (host.folder / "index.html").write_text(
        "<!doctype html><title>Uppy</title><script src='recipe.js'></script>"
    )
    tab.goto(f"{host.origin}/")
    return tab


ADD_AND_UPLOAD = """async ([name, type, content]) => {
  const errors = [];
  recipe.uppy.on("upload-error", (file, { message, source }) => errors.push(message, source?.responseText));
  recipe.uppy.addFile({ name, type, data: new File([content], name, { type }) });
  const { successful, failed } = await recipe.uppy.upload();
  return { successful: successful.length, failed: failed.length, errors };
}"""


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("照片 1.png", "image/png"), ("照片 1.png", ""), ("no type", "")],
    ids=["typed", "typed by its name", "untyped"],
)
def test_uppy_stores_a_file(uppy: Page, cloud: Cloud, name: str, content_type: str) -> None:
    result = uppy.evaluate(ADD_AND_UPLOAD, [name, content_type, "pixels"])

    assert result == {"successful": 1, "failed": 0, "errors": []}
    assert [stored.read() for stored in cloud.bucket.objects.values()] == [b"pixels"]


def test_uppy_shows_a_refusal_of_the_function(
    uppy: Page, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOAD_TYPES", "image/*")

    result = uppy.evaluate(ADD_AND_UPLOAD, ["a.html", "text/html", "<p>"])

    assert result["failed"] == 1
    assert "This content type may not be uploaded." in result["errors"][0]
    assert cloud.bucket.puts == []


def test_uppy_has_the_reason_of_a_refusal_of_oss(uppy: Page, cloud: Cloud) -> None:
    cloud.bucket.credentials.clear()

    result = uppy.evaluate(ADD_AND_UPLOAD, ["a.png", "image/png", "pixels"])

    assert result["failed"] == 1
    assert "InvalidAccessKeyId" in str(result["errors"])
