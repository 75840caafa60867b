"""The uploaders of clients/ as what they also are: a function that sends a file by the function's answer.

A program in each language takes METHOD URL FILE and the headers' names and values, and ends with 0 if the
file is stored, 3 if the URL has expired, 1 if it is refused for another reason.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import requests

from tests.test_clients import CLIENTS, ENVIRONMENT, big, client, cloud

__all__ = ["big", "client", "cloud"]  # fixtures

#: For the oldest Java that the uploader runs on.
JAVAC = ["javac", "--release", "11"]
NET = ["-r:System.Net.Http", "-r:System.Runtime.Serialization"]

PYTHON = """
import sys, upload
method, url, file, *headers = sys.argv[1:]
try:
    upload.put(method, url, dict(zip(headers[::2], headers[1::2])), file)
except upload.Refused as refused:
    sys.exit(3 if refused.expired else 1)
"""

NODE = """
import { put } from '%s/node/upload.mjs';
const [method, url, file, ...rest] = process.argv.slice(2);
const headers = {};
while (rest.length) headers[rest.shift()] = rest.shift();
try {
  await put(method, url, headers, file);
} catch (error) {
  process.exitCode = error.expired ? 3 : 1;
}
"""

SHELL = """
UPLOAD_LIBRARY=1
. "%s/curl/upload.sh"
method=$1 url=$2 file=$3
shift 3
count=$#
while [ $count -gt 0 ]; do
    name=$1 value=$2
    shift 2
    set -- "$@" "$name: $value"
    count=$((count - 2))
done
put "$method" "$url" "$file" "$@"
"""

GO = """
package main

import (
	"errors"
	"os"

	"upload"
)

func main() {
	headers := map[string]string{}
	for i := 4; i < len(os.Args); i += 2 {
		headers[os.Args[i]] = os.Args[i+1]
	}
	err := upload.Put(os.Args[1], os.Args[2], headers, os.Args[3], nil)
	var refused *upload.Refused
	if errors.As(err, &refused) && refused.Expired {
		os.Exit(3)
	}
	if err != nil {
		os.Exit(1)
	}
}
"""

JAVA = """
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

class Put {
    public static void main(String[] args) throws Exception {
        Map<String, String> headers = new HashMap<>();
        for (int i = 3; i < args.length; i += 2) {
            headers.put(args[i], args[i + 1]);
        }
        try {
            Upload.put(args[0], args[1], headers, Path.of(args[2]), null);
        } catch (Upload.Refused refused) {
            System.exit(refused.expired ? 3 : 1);
        }
    }
}
"""

ANDROID = JAVA.replace("Upload.put(", "new Upload().put(").replace(
    "Path.of(args[2])", "Upload.file(new java.io.File(args[2]))"
)

CSHARP = """
using System.Collections.Generic;

static class Put
{
    static void Main(string[] args)
    {
        var headers = new Dictionary<string, string>();
        for (var i = 3; i < args.Length; i += 2) headers[args[i]] = args[i + 1];
        try
        {
            Uploader.Put(args[0], args[1], headers, args[2]).GetAwaiter().GetResult();
            Uploader.ExitAtOnce(0);
        }
        catch (RefusedException refused)
        {
            Uploader.ExitAtOnce(refused.Expired ? 3 : 1);
        }
    }
}
"""

CPP = """
#define UPLOAD_LIBRARY
#include "upload.cpp"

int main(int argc, char** argv) {
    upload::Headers headers;
    for (int i = 4; i < argc; i += 2) headers[argv[i]] = argv[i + 1];
    try {
        upload::put(argv[1], argv[2], headers, argv[3]);
        return 0;
    } catch (const upload::Refused& refused) {
        return refused.expired ? 3 : 1;
    }
}
"""

#: As it is written where there is no authorization.
JAVA_WITHOUT = """
import java.io.File;
import java.nio.file.Path;

class Without {
    public static void main(String[] args) throws Exception {
        Upload.ask(args[0], Path.of(args[1]), "a/b");
        System.out.println(Upload.upload(args[0], args[1], "a/b", null));
    }
}
"""

ANDROID_WITHOUT = (
    JAVA_WITHOUT.replace("Upload.", "new Upload().")
    .replace("Path.of(args[1])", "Upload.file(new File(args[1]))")
    .replace("args[1], ", "Upload.file(new File(args[1])), ")
)

#: Of an app: starts an upload on the main thread, and cancels it when the first percent is told.
CANCEL = """
import java.io.File;
import java.io.IOException;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;

class Cancel {
    static Upload upload;

    public static void main(String[] args) throws Exception {
        Executor callbacks = Executors.newSingleThreadExecutor(task -> new Thread(task, "callbacks"));
        Upload.Source source = Upload.file(new File(args[1]));
        upload = Upload.start(args[0], source, "a/b", callbacks, new Upload.Listener() {
            @Override
            public void sent(long bytes, long size) {
                upload.cancel();
            }

            @Override
            public void stored(String key) {
                System.exit(1);
            }

            @Override
            public void failed(IOException reason) {
                System.out.println(Thread.currentThread().getName() + ": " + reason.getMessage());
                System.exit(0);
            }
        });
    }
}
"""


@pytest.fixture(scope="session")
def program(client, tmp_path_factory):
    """The command that starts the program in the client's language."""
    folder = tmp_path_factory.mktemp(client)
    sources = {
        "python": ("program.py", PYTHON),
        "node": ("program.mjs", NODE % CLIENTS),
        "curl": ("program.sh", SHELL % CLIENTS),
        "go": ("program.go", GO),
        "java": ("Put.java", JAVA),
        "android": ("Put.java", ANDROID),
        "csharp": ("Put.cs", CSHARP),
        "cpp": ("program.cpp", CPP),
    }
    name, source = sources[client]
    (folder / name).write_text(source)
    (folder / "go.mod").write_text(f"module program\nrequire upload v0.0.0\nreplace upload => {CLIENTS}/go\n")
    classes = f"{folder}:{CLIENTS / client}/build"
    builds = {
        "go": ["go", "build", "-o", "program", "program.go"],
        "java": [*JAVAC, "-cp", classes, "-d", ".", name],
        "android": [*JAVAC, "-cp", classes, "-d", ".", name],
        "csharp": ["mcs", "-main:Put", *NET, "-out:Put.exe", name, CLIENTS / "csharp" / "Upload.cs"],
        "cpp": ["c++", "-std=c++17", "-I", CLIENTS / "cpp", "-o", "program", name, "-lcurl"],
    }
    if client in builds:
        subprocess.run(builds[client], cwd=folder, check=True, timeout=300)
    return {
        "python": [sys.executable, folder / name],
        "node": ["node", folder / name],
        "curl": ["sh", folder / name],
        "go": [folder / "program"],
        "java": ["java", "-cp", classes, "Put"],
        "android": ["java", "-cp", classes, "Put"],
        "csharp": ["mono", folder / "Put.exe"],
        "cpp": [folder / "program"],
    }[client]


def put(program, answer, file):
    """How the program ends."""
    headers = [word for header in answer["headers"].items() for word in header]
    command = [*program, answer["method"], answer["url"], file, *headers]
    environment = ENVIRONMENT | {"PYTHONPATH": str(CLIENTS / "python")}
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=60).returncode


def ask(there, **fields):
    """The function's answer."""
    return requests.post(there.function, json=fields, timeout=10).json()


def test_a_file_is_sent_with_metadata_and_storage_class(program, cloud, tmp_path):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    bound = {"x-oss-storage-class": "IA", "Cache-Control": "no-cache"}
    answer = ask(
        there, key="上传/a b.txt", contentType="text/plain", size=3, headers=bound, metadata={"owner": "me"}
    )

    assert put(program, answer, file) == 0

    stored = there.oss.get("上传/a b.txt")
    assert stored.read() == b"abc"
    assert stored.headers == {
        "content-type": "text/plain",
        "cache-control": "no-cache",
        "x-oss-storage-class": "IA",
        "x-oss-meta-owner": "me",
    }


def test_a_header_less_is_a_refusal(program, cloud, tmp_path):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    answer = ask(there, key="a.txt", contentType="text/plain", metadata={"owner": "me"})
    del answer["headers"]["x-oss-meta-owner"]

    assert put(program, answer, file) == 1
    assert there.oss.objects == {}


def test_a_byte_more_than_was_bound_is_a_refusal(program, cloud, tmp_path):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(b"abcd")

    assert put(program, ask(there, key="a.txt", contentType="text/plain", size=3), file) == 1
    assert there.oss.objects == {}


def test_an_expired_url_is_told_apart(program, cloud, tmp_path):
    there = cloud(clock=lambda: time.time() + 3600)
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")

    assert put(program, ask(there, key="a.txt", contentType="text/plain"), file) == 3


def java_program(classes, name, source, *, cwd):
    """The command that starts a program of one class; the uploader is in `classes`."""
    (cwd / f"{name}.java").write_text(source)
    path = f"{cwd}:{classes}"
    subprocess.run([*JAVAC, "-cp", path, "-d", ".", f"{name}.java"], cwd=cwd, check=True, timeout=60)
    return ["java", "-cp", path, name]


def java(*program, cwd, arguments):
    """What the program says and how it ends."""
    command = [*java_program(*program, cwd=cwd), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("client", "source"), [("java", JAVA_WITHOUT), ("android", ANDROID_WITHOUT)], indirect=["client"]
)
def test_a_caller_need_not_know_of_authorizations(client, source, cloud, tmp_path):
    """The other languages have optional arguments."""
    there = cloud()
    build = CLIENTS / client / "build"

    done = java(build, "Without", source, cwd=tmp_path, arguments=[there.function, "Without.java"])

    assert (done.returncode, done.stderr) == (0, "")
    assert list(there.oss.objects) == [done.stdout.strip()]
    assert ["Authorization" in headers for headers in there.heard] == [False, False]


@pytest.mark.parametrize("client", ["android"], indirect=True)
def test_an_app_may_cancel(client, cloud, big, tmp_path):
    there = cloud()

    done = java(
        CLIENTS / client / "build", "Cancel", CANCEL, cwd=tmp_path, arguments=[there.function, big.file]
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "callbacks: cancelled\n", "")
    assert there.oss.objects == {}


#: Of an app whose thread is interrupted while it uploads, and of one whose file may not be read after all.
FAILING = """
import java.io.File;
import java.io.InputStream;
import java.io.InterruptedIOException;

class Failing {
    public static void main(String[] args) throws Exception {
        Upload.Source source = Upload.file(new File(args[1]));
        Upload upload = new Upload();
        Thread caller = Thread.currentThread();
        try {
            upload.upload(args[0], source, "a/b", (bytes, size) -> {
                if (bytes * 100 / size == 1) { // once: another could come when the next upload has begun
                    caller.interrupt();
                }
            });
        } catch (InterruptedIOException error) {
            System.out.println(error.getMessage() + " " + Thread.interrupted());
        }
        try {
            upload.upload(args[0], new Upload.Source() {
                @Override
                public String name() {
                    return source.name();
                }

                @Override
                public long size() throws java.io.IOException {
                    return source.size();
                }

                @Override
                public InputStream open() {
                    throw new SecurityException("not yours any more");
                }
            }, "a/b", null);
        } catch (SecurityException error) {
            System.out.println(error.getMessage());
        }
    }
}
"""


@pytest.mark.parametrize("client", ["android"], indirect=True)
def test_an_interrupted_thread_and_a_failing_source_are_told_as_what_they_are(client, cloud, big, tmp_path):
    there = cloud()

    done = java(
        CLIENTS / client / "build", "Failing", FAILING, cwd=tmp_path, arguments=[there.function, big.file]
    )

    assert done.stdout.splitlines() == ["interrupted true", "not yours any more"], done.stderr
    assert there.oss.objects == {}
