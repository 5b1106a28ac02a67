"""Helpers of ours that never answer: the name service, a credential helper. A run ends all the same, and soon."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, DemoImage
from process.conftest import Pair
from support.processes import children_of, wait_until, zygotes_of
from support.sync_process import RunFiles, SyncProcess

SOON_S = 30.0
"""On a machine that is full; the helpers take twice as long, and then do not answer."""
THREADS = 3
"""That of the run, one of its loop's, and the one in which libcurl resolves a name."""
RESOLVER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  if (node && strstr(node, "hang.example")) {
    for (int second = 0; second < 60; second++) sleep(1);
    return EAI_AGAIN;
  }
  return ((resolve)dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, found);
}
"""


@pytest.fixture
def silent_names(tmp_path: Path) -> str:
    """A library that makes every look-up of hang.example take a minute."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "names.c").write_text(RESOLVER)
    library = tmp_path / "names.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "names.c", "-ldl"], check=True)
    return str(library)


@pytest.mark.extended
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_name_service_that_never_answers(tmp_path: Path, silent_names: str, *, interrupted: bool) -> None:
    files = RunFiles(tmp_path / "run")
    images = [DemoImage("team/app", f"v{number}", ContentBuilder(1).image()) for number in range(3)]
    files.write("hang.example:5000", "hang.example:5001", images)
    settings = {"connect_timeout_s": 60.0 if interrupted else 1.0, "retries": 0}
    began = time.monotonic()
    with SyncProcess(files, settings=settings, environment={"LD_PRELOAD": silent_names}) as run:
        if interrupted:
            threads = Path(f"/proc/{run.pid}/task")
            wait_until(lambda: len(list(threads.iterdir())) >= THREADS, "it asks for an address in a thread")
            run.signal(signal.SIGINT)
        code = run.wait()
    assert time.monotonic() - began < SOON_S
    outcomes = [image["outcome"] for image in run.report["images"]]
    assert (code, outcomes) == ((130, ["not tried"] * 3) if interrupted else (1, ["failed"] * 3)), run.err
    if not interrupted:
        assert "esolving timed out" in run.report["images"][0]["reason"]


def test_a_credential_helper_that_never_answers_does_not_keep_an_interrupted_run(pair: Pair, tmp_path: Path) -> None:
    pair.add_images(2)
    pair.source.behaviour = Behaviour(users={"robot": "hunter2hunter2"})
    (tmp_path / "config.json").write_text('{"credsStore": "silent"}')
    helper = tmp_path / "docker-credential-silent"
    helper.write_text(f"#!/bin/sh\n: > {tmp_path}/asked\nexec sleep 60\n")
    helper.chmod(0o755)
    environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    with pair.run(environment=environment) as run:
        wait_until((tmp_path / "asked").exists, "the helper is asked")
        [asked] = {*children_of(run.pid)}.difference(zygotes_of(run.pid))
        began = time.monotonic()
        run.signal(signal.SIGINT)
        assert run.wait() == 130, run.err
        assert time.monotonic() - began < SOON_S
    assert not asked.is_alive
    assert [image["outcome"] for image in run.report["images"]] == ["not tried"] * 2
