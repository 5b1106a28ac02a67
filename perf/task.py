"""What a tool is asked to do in one run: which repositories of which source go where, and the files that say so."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from perf.stage.content import Content
    from perf.stage.servers import Place

__all__ = ["Blob", "Copy", "Task", "Wanted", "list_blobs", "write_task"]


@dataclass(frozen=True)
class Blob:
    """A blob that has to be in a repository."""

    repository: str
    digest: str
    size: int


@dataclass(frozen=True)
class Wanted:
    """What has to be at each destination in the end, over all sources."""

    images: int
    blob_copies: int
    """Layers and configs, summed over images."""
    placed_blobs: int
    """Pairs of repository and digest."""
    distinct_blobs: int
    distinct_bytes: int


@dataclass(frozen=True)
class Copy:
    """All tags of one repository to one place at one destination."""

    source: Place
    repository: str
    destination: Place
    target: str
    """The repository at the destination."""
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One run. `folder` is the tool's own to write to; the files lie in it."""

    folder: Path
    copies: tuple[Copy, ...]
    sources: tuple[Place, ...]
    destinations: tuple[Place, ...]
    auth: Path
    images: Path
    blobs: Path
    """Lines for curl: source URL of a repository, destination URL of one, digest, size."""
    docker_config: Path
    """A directory with docker's config.json: what other tools find passwords in."""
    ca_file: Path | None
    """The certificates of all private authorities of the task in one file."""
    streams: int
    """How many blobs image-syncer has in flight at most, over all workers."""
    wanted: Wanted

    @property
    def environment(self) -> dict[str, str]:
        """For every tool alike: where passwords and certificates are, and no proxy."""
        docker = str(self.docker_config)
        environment = {
            "DOCKER_CONFIG": docker,
            "REGISTRY_AUTH_FILE": f"{docker}/config.json",
            "no_proxy": "127.0.0.1,localhost,10.0.0.0/8",
        }
        if self.ca_file is not None:
            environment |= {"SSL_CERT_FILE": str(self.ca_file), "CURL_CA_BUNDLE": str(self.ca_file)}
        return environment


def list_blobs(content: Content) -> list[Blob]:
    """Every blob of every repository once, in the order of the images."""
    found: dict[tuple[str, str], Blob] = {}
    for repository, tags in content.tags.items():
        folder = content.root / "v2" / repository / "manifests"
        for tag in tags:
            manifest = json.loads((folder / tag).read_bytes())
            for entry in (manifest["config"], *manifest["layers"]):
                blob = Blob(repository, entry["digest"], entry["size"])
                found.setdefault((repository, blob.digest), blob)
    return list(found.values())


def write_task(
    folder: Path,
    sources: list[tuple[Place, Content, list[Blob]]],
    destinations: list[Place],
    *,
    streams: int,
) -> Task:
    """Write the files of a run into `folder`. With several sources, each gets a name space at the destinations."""
    copies: list[Copy] = []
    lines: list[str] = []
    images: dict[str, list[str]] = {}
    entries: dict[str, dict[str, object]] = {}
    for number, (place, content, blobs) in enumerate(sources):
        space = f"from{number}/" if len(sources) > 1 else ""
        for repository in content.repositories:
            targets = [f"{destination.address}/{space}{repository}" for destination in destinations]
            images[f"{place.address}/{repository}"] = targets
            tags = content.tags[repository]
            copies += [Copy(place, repository, there, f"{space}{repository}", tags) for there in destinations]
        for destination in destinations:
            urls = [f"{_url(place)}/v2/", f"{_url(destination)}/v2/{space}"]
            lines += [f"{urls[0]}{b.repository} {urls[1]}{b.repository} {b.digest} {b.size}\n" for b in blobs]
    places = [*(place for place, _, _ in sources), *destinations]
    for place in places:
        entry: dict[str, object] = {"insecure": True} if place.ca_file is None else {"ca_file": str(place.ca_file)}
        if place.username is not None:
            entry |= {"username": place.username, "password": place.password}
        entries[place.address] = entry
    folder.mkdir(parents=True, exist_ok=True)
    auth, images_file, blob_file = folder / "auth.json", folder / "images.json", folder / "blobs.txt"
    auth.write_text(json.dumps(entries))
    images_file.write_text(json.dumps(images))
    blob_file.write_text("".join(lines))
    return Task(
        folder=folder,
        copies=tuple(copies),
        sources=tuple(place for place, _, _ in sources),
        destinations=tuple(destinations),
        auth=auth,
        images=images_file,
        blobs=blob_file,
        docker_config=_write_docker_config(folder, places),
        ca_file=_write_authorities(folder, places),
        streams=streams,
        wanted=_sum_up(sources),
    )


def _sum_up(sources: list[tuple[Place, Content, list[Blob]]]) -> Wanted:
    contents = [content for _, content, _ in sources]
    return Wanted(
        images=sum(content.images for content in contents),
        blob_copies=sum(content.blob_copies for content in contents),
        placed_blobs=sum(len(blobs) for _, _, blobs in sources),
        distinct_blobs=sum(content.distinct_blobs for content in contents),
        distinct_bytes=sum(content.distinct_bytes for content in contents),
    )


def _url(place: Place) -> str:
    return f"{'http' if place.ca_file is None else 'https'}://{place.address}"


def _write_docker_config(folder: Path, places: list[Place]) -> Path:
    directory = folder / "docker"
    directory.mkdir(exist_ok=True)
    auths = {
        place.address: {"auth": base64.b64encode(f"{place.username}:{place.password}".encode()).decode()}
        for place in places
        if place.username is not None
    }
    (directory / "config.json").write_text(json.dumps({"auths": auths}))
    return directory


def _write_authorities(folder: Path, places: list[Place]) -> Path | None:
    texts = [place.ca_file.read_text() for place in places if place.ca_file is not None]
    if not texts:
        return None
    path = folder / "authorities.pem"
    path.write_text("\n".join(texts))
    return path
