"""The key of a registry's entry that says which cloud knows its credential: `cloud`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.fields import read_fields, read_text
from image_syncer.config.findings import key_path, nearest, shown
from image_syncer.config.tree import MappingNode
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.entry_fields import EntryFields

__all__ = ["CLOUDS", "CLOUD_KEYS", "NO_CLOUD", "CloudSettings", "merge_clouds", "read_cloud"]

CLOUD_KEYS: tuple[str, ...] = ("cloud",)

NO_CLOUD = "off"
"""The name that stands for "ask no cloud for this registry"."""

CLOUDS = ("aws", "google", "azure", "aliyun")
"""The clouds that can be asked for a credential."""

_FIELDS = ("name", "region", "profile", "instance", "endpoint")
_NOTHING = frozenset({NO_CLOUD, "false", "no", "none"})


class CloudSettings(Value, frozen=True):
    """What is to be known of a registry of a cloud beyond the name of its host.

    `name` is one of `CLOUDS`, `NO_CLOUD`, or None where the host tells. `region` and `instance` (of Alibaba Cloud) are
    needed where it does not tell them. `profile` is a profile of AWS's configuration files; `endpoint` is the address
    of the cloud's API where it is another than the public one.
    """

    name: str | None = None
    region: str | None = None
    profile: str | None = None
    instance: str | None = None
    endpoint: str | None = None


def read_cloud(entry: EntryFields) -> CloudSettings | None:
    """What the entry says of its cloud: a name, or a mapping; None where it says nothing."""
    node = entry.fields.get("cloud")
    if node is None:
        return None
    key, findings = entry.key("cloud"), entry.findings
    if not isinstance(node, MappingNode):
        name = _name(read_text(node, key, findings), node.line, key, entry)
        return CloudSettings(name) if name else None
    fields = read_fields(node, _FIELDS, key, findings, strict=entry.dialect.strict, any_case=entry.dialect.any_case)
    texts = {field: read_text(value, key_path(key, field), findings) or None for field, value in fields.items()}
    if (text := texts.get("name")) is not None:
        texts["name"] = _name(text, fields["name"].line, key_path(key, "name"), entry)
    endpoint = texts.get("endpoint")
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        what = f"“{shown(endpoint)}” is no address"
        findings.error(fields["endpoint"].line, key_path(key, "endpoint"), what, "write https://host")
    elif endpoint is not None and not endpoint.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        what = "what is sent to this address can be read on the way, tokens included"
        findings.warn(fields["endpoint"].line, key_path(key, "endpoint"), what, "write https://host")
    return CloudSettings(**texts)


def merge_clouds(clouds: Iterable[CloudSettings | None]) -> CloudSettings | None:
    """The cloud of a host out of what all its entries say: the first that says something."""
    return next((cloud for cloud in clouds if cloud is not None), None)


def _name(text: str | None, line: int, key: str, entry: EntryFields) -> str | None:
    if not text:
        return None
    word = text.lower()
    if word in _NOTHING:
        return NO_CLOUD
    if word in CLOUDS:
        return word
    guess = nearest(word, CLOUDS)
    mend = f"did you mean “{guess}”?" if guess else f"write one of {', '.join(CLOUDS)}, or {NO_CLOUD}"
    entry.findings.error(line, key, f"“{shown(text)}” is no cloud that is known", mend)
    return None
