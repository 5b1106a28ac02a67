"""skopeo, as a judge of what lies in a registry, and as a client that nobody here has written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.programs import find_program, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Skopeo:
    """skopeo for registries on loopback. References are `host:port/name:tag` or `…@digest`, without a transport.

    Over plain HTTP `tls_verify` is False; with `certificate_directory` (it holds *.crt) it trusts what lies there.
    """

    tls_verify: bool = False
    certificate_directory: Path | None = None
    credential: tuple[str, str] | None = None

    def copy(self, source: str, destination: str, *, all_platforms: bool = True) -> None:
        """Copies an image, with every platform of an index, byte for byte."""
        sides = [*self._side("src-"), *self._side("dest-")]
        which = ["--all"] if all_platforms else []
        self._run("copy", *which, "--preserve-digests", *sides, f"docker://{source}", f"docker://{destination}")

    def copy_to_directory(self, source: str, directory: Path) -> None:
        """Copies an image, with every platform of an index, into files: manifest.json and blobs by their hex digits."""
        self._run("copy", "--all", "--preserve-digests", *self._side("src-"), f"docker://{source}", f"dir:{directory}")

    def inspect_raw(self, reference: str) -> bytes:
        """The manifest, byte for byte."""
        return self._run("inspect", "--raw", *self._side(""), f"docker://{reference}")

    def digest(self, reference: str) -> str:
        """The sha256 digest of the manifest, made from its bytes."""
        return f"sha256:{hashlib.sha256(self.inspect_raw(reference)).hexdigest()}"

    def inspect(self, reference: str) -> Mapping[str, Any]:
        """What skopeo tells about an image: Digest, RepoTags, Layers …"""
        parsed: Mapping[str, Any] = json.loads(self._run("inspect", *self._side(""), f"docker://{reference}"))
        return parsed

    def list_tags(self, repository: str) -> list[str]:
        """All tags of `host:port/name`."""
        tags: list[str] = json.loads(self._run("list-tags", *self._side(""), f"docker://{repository}"))["Tags"]
        return tags

    def _side(self, prefix: str) -> list[str]:
        options = [f"--{prefix}tls-verify={str(self.tls_verify).lower()}"]
        if self.certificate_directory is not None:
            options.append(f"--{prefix}cert-dir={self.certificate_directory}")
        if self.credential is not None:
            options.append(f"--{prefix}creds={':'.join(self.credential)}")
        return options

    def _run(self, verb: str, *arguments: str) -> bytes:
        return run_program([find_program("skopeo"), "--insecure-policy", verb, *arguments])
