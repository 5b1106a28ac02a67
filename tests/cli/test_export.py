"""`export` and `import` on the command line: words, exit codes, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread
from support.bundles import make_bundle, some_images

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "out"), "nothing to export"),
        (("export",), "Missing argument 'BUNDLE_DIR'"),
        (("export", "out", "--images", "i.yaml", "--part-size", "1KiB"), "at least 1 MiB"),
        (("export", "out", "--images", "i.yaml", "--state", "s"), "no such option"),
        (("import", "out"), "say where to"),
        (("import", "out", "--to", "mirror"), "does not begin with a registry"),
        (("import", "out", "--to", "reg.example/UPPER"), "does not name a repository"),
        (("import", "out", "--to", "reg.example", "--verify-only"), "leave --to out"),
        (("import", "out", "--to", "reg.example"), "is no bundle"),
    ],
)
def test_a_mistake_in_the_words_is_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = command(*words)
    assert ran.code == 2
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extended
def test_there_and_back_again(command: Command, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    with serve_in_thread() as registry:
        images = some_images()
        for name, manifest in images.items():
            repository, _, tag = name.partition(":")
            push_to(registry.storage, repository, manifest, (tag,))
        nginx = images["library/nginx:1.27"]
        signature = ContentBuilder(seed=9).artifact("application/vnd.cncf.notary.signature", subject=nginx)
        push_to(registry.storage, "library/nginx", signature)
        (tmp_path / "images.yaml").write_text(
            f"{registry.address}/team/app: anything.example/team/app\n"
            f"{registry.address}/library/nginx: anything.example/nginx\n"
        )
        (tmp_path / "auth.yaml").write_text(f'"{registry.address}":\n  insecure: true\n')
        files = ("--images", tmp_path / "images.yaml", "--auth", tmp_path / "auth.yaml")
        planned = command("export", bundle, *files, "--dry-run")
        assert planned.code == 0
        assert "would be copied" in planned.out
        assert not bundle.exists()
        exported = command("export", bundle, *files, "--referrers", "all")
        assert exported.code == 0
        assert exported.out.splitlines()[-1].startswith(f"{bundle}: 3 images in 1 part, ")
        again = command("export", bundle, *files)
        assert (again.code, again.out) == (2, "")
        assert "has a whole bundle already" in again.err
        words = ("--to", f"{registry.address}/bare", "--insecure", registry.address, "--referrers", "none")
        assert command("import", bundle, *words).code == 0
        assert registry.storage.referrers("bare/nginx", nginx.digest) == []
        # Another form has other digests, which no signature is about: none is brought, and that is no mistake.
        form = ("--format", "docker", "--dry-run")
        converted = command("import", bundle, "--to", registry.address, "--insecure", registry.address, *form)
        assert f"bundle:{bundle}:nginx:1.27" in converted.out
        assert "--referrers" not in converted.err
        words = ("--to", f"{registry.address}/inside", "--insecure", registry.address)
        imported = command("import", bundle, *words)
        assert imported.code == 0
        first, last = imported.out.splitlines()
        assert first.startswith(f"{bundle}: 3 images in 1 part, ")
        assert last.startswith("4 images: 4 copied")
        [referrer] = registry.storage.referrers("inside/nginx", nginx.digest)
        assert referrer.digest == signature.digest
        assert registry.storage.tag("inside/nginx", "1.27") == nginx.digest
        assert command("import", bundle, *words).out.splitlines()[1].startswith("4 images: 4 unchanged")


def test_an_export_that_failed_says_that_there_is_no_bundle_yet(command: Command, tmp_path: Path) -> None:
    with serve_in_thread() as registry:
        (tmp_path / "images.yaml").write_text(f"{registry.address}/team/app:v1: anything.example/team/app\n")
        (tmp_path / "auth.yaml").write_text(f'"{registry.address}":\n  insecure: true\n')
        files = ("--images", tmp_path / "images.yaml", "--auth", tmp_path / "auth.yaml")
        ran = command("export", tmp_path / "bundle", *files)
    assert ran.code == 1
    assert f"{tmp_path / 'bundle'} is no bundle yet. Run the same export again" in ran.err


def test_a_bundle_is_checked_and_nothing_else(command: Command, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", some_images())
    ran = command("import", bundle, "--verify-only")
    assert (ran.code, ran.err) == (0, "")
    assert "all as exported 2026-11-25T12:00:00+00:00" in ran.out
    part = bundle / "part-0002.tar"
    raw = bytearray(part.read_bytes())
    raw[7] ^= 1
    part.write_bytes(raw)
    ran = command("import", bundle, "--verify-only")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        f"Error: the bundle in {bundle} is damaged: part-0002.tar has other content than it had",
        "  Nothing was written. Copy again from where it was exported, and nothing else: part-0002.tar",
    ]
