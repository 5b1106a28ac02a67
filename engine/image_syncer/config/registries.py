"""Readers of registry entries: an auth file of the Go tool, or `registries` of our own format."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from image_syncer.config.document import MappingNode, SequenceNode
from image_syncer.config.fields import Expansion, Fields, read_fields, read_mapping, read_text
from image_syncer.config.findings import Findings, RuleError, key_path, nearest, shown
from image_syncer.config.rate_schedule import RateSchedule, build_window
from image_syncer.config.registry_book import (
    NO_CLOUD,
    CloudSettings,
    Limits,
    RegistryEntry,
    RepositoryTemplate,
    canonical_prefix,
)
from image_syncer.oci import InvalidReference, canonical_registry, parse_repository
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import (
    DIRECT,
    MAX_PAGE_SIZE,
    NO_PROXY,
    OVERRIDABLE_FLAGS,
    OVERRIDABLE_SIZES,
    PROFILES,
    Credential,
    Mounts,
    Network,
    Profile,
    RedirectPolicy,
    parse_proxy,
    recognise_host,
)
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.config.document import Node
    from image_syncer.config.fields import Dialect
    from image_syncer.config.rate_schedule import RateWindow


NETWORK_KEYS = (
    *("proxy", "client_cert", "client_key", "client_key_password", "resolve", "interface", "ip_version"),
    *("http_version", "headers"),
)
OWN_ENTRY_KEYS = (
    *("username", "password", "insecure", "ca_file", "skip_tls_verify", "max_connections", "pieces_above"),
    *("requests_per_s", "rate", "mirrors"),
    *NETWORK_KEYS,
    *("allow_local_redirects", "allow_plain_redirects", "profile", "cloud", "create_repositories"),
)
"""Keys of an entry of `registries` in our own format."""
GO_ENTRY_KEYS = (*OWN_ENTRY_KEYS, "identityToken")
"""Keys of an entry of the Go tool's auth file; the Go tool itself knows five of them."""
WINDOW_KEYS = ("rate", "from", "to", "days")
"""Keys of an item where `rate` is a list."""
PROFILE_FIELDS = ("kind", "mounts", "page_size", *OVERRIDABLE_FLAGS, *OVERRIDABLE_SIZES)
"""Keys of `profile`, where it is more than a name."""
CLOUDS = ("aws", "google", "azure", "aliyun")
"""The clouds that give credentials for their registries."""
LEAST_REQUESTS_PER_S = 0.1
"""With less, one image takes minutes: it is probably a mistake."""

CLOUD_FIELDS = ("name", "region", "profile", "instance", "endpoint")
_NO_CLOUD_WORDS = frozenset({NO_CLOUD, "false", "no", "none"})
CREATION_FIELDS = ("tags", "immutable", "scan_on_push", "kms_key", "public")
_LEAST_CONNECTIONS = 2  # one for manifests and one for blobs, which must not wait for each other
_HTTP_VERSIONS = ("1.1", "2", "3")
_IP_VERSIONS = ("4", "6")
_PEM_MEND = "write the path of a PEM file"
_RATE_MEND = 'write 200MB/s, or a list of {days: mon-fri, from: "08:00", to: "18:00", rate: 50MB/s}'
_HOST_AND_PORT = lazy_pattern(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5}):(?P<rest>.+)"
)
_LAST_PORT = 65535
_INTERFACE = lazy_pattern(r"[^\s/!\x00-\x1f\x7f]{1,64}")
_HEADER_NAME = lazy_pattern(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = lazy_pattern(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_OWN_HEADERS = {
    "authorization": "write username and password: they go where they may go, and nowhere else",
    "proxy-authorization": "write user:password@ before the host of the proxy",
    **dict.fromkeys(
        (
            *("accept", "accept-encoding", "connection", "content-length", "content-range", "content-type"),
            *("expect", "host", "keep-alive", "range", "te", "trailer", "transfer-encoding", "upgrade"),
        ),
        "leave it out: image-syncer says here what the request needs",
    ),
}
"""Request headers that the user cannot set, and what to write instead."""


def read_registries(node: Node, key: str, findings: Findings, dialect: Dialect) -> tuple[RegistryEntry, ...]:
    """Return all entries below a node that maps prefixes to them."""
    mapping = read_mapping(node, key, findings)
    entries: dict[str, tuple[RegistryEntry, int]] = {}
    for name, value in mapping.entries if mapping else ():
        path, prefix = key_path(key, name.text), canonical_prefix(name.text)
        _check_prefix(name.text, name.line, path, findings)
        entry = _read_entry(name.text, value, path, findings, dialect)
        if entry is None:
            continue
        other, line = entries.setdefault(prefix, (entry, name.line))
        if other.prefix != entry.prefix:
            report = findings.error if dialect.strict else findings.warn
            what = f"“{shown(entry.prefix)}” and “{shown(other.prefix)}” (line {line}) are the same registry"
            report(name.line, path, what, f"keep one of them: {shown(prefix)}")
        if entry.prefix == prefix:
            entries[prefix] = (entry, name.line)
    return tuple(entry for entry, _ in entries.values())


def _check_prefix(prefix: str, line: int, path: str, findings: Findings) -> None:
    canonical = canonical_prefix(prefix)
    try:
        registry = parse_repository(f"{canonical}/image").registry
    except InvalidReference:
        what = f"“{shown(prefix)}” is neither a registry nor a registry with a namespace"
        findings.error(line, path, what, "write quay.io or quay.io/org")
        return
    if registry != canonical.partition("/")[0]:
        what = f"no image begins with “{shown(prefix)}”, so this entry has no effect"
        mend = f"a registry has a dot or a port; for Docker Hub write {registry}/{shown(prefix)}"
        findings.warn(line, path, what, mend)


def _read_entry(prefix: str, node: Node, path: str, findings: Findings, dialect: Dialect) -> RegistryEntry | None:
    entry = read_fields(node, OWN_ENTRY_KEYS if dialect.strict else GO_ENTRY_KEYS, path, findings, dialect)
    if entry is None:
        return None
    skip_tls_verify = entry.flag("skip_tls_verify")
    if skip_tls_verify:
        findings.warn(
            entry.nodes["skip_tls_verify"].line,
            path,
            "the certificate of this registry is not checked: anyone on the network path can read the password",
            "name the certificate of its authority with ca_file instead",
        )
    registry = canonical_prefix(prefix).partition("/")[0]
    return RegistryEntry(
        prefix=prefix,
        credential=_read_credential(entry, node.line),
        insecure=entry.flag("insecure"),
        skip_tls_verify=skip_tls_verify,
        ca_file=entry.file("ca_file", _PEM_MEND),
        max_connections=entry.count("max_connections", least=_LEAST_CONNECTIONS),
        pieces_above=entry.size("pieces_above"),
        limits=Limits(entry.number("requests_per_s", least=LEAST_REQUESTS_PER_S), _read_rate(entry)),
        mirrors=entry.parsed_items("mirrors", lambda text: _parse_mirror(text, registry)),
        network=_read_network(entry),
        redirects=RedirectPolicy(local=entry.flag("allow_local_redirects"), plain=entry.flag("allow_plain_redirects")),
        profile=_read_profile(entry, registry),
        cloud=_read_cloud(entry),
        creation=_read_creation(entry),
    )


def _read_credential(entry: Fields, line: int) -> Credential | None:
    errors_before = len(entry.findings.errors)
    username, password = entry.secret("username"), entry.secret("password")
    identity_token = entry.secret("identityToken")
    if len(entry.findings.errors) == errors_before and not identity_token and bool(username) != bool(password):
        there, missing = ("username", "password") if username else ("password", "username")
        mend = f"write {missing} too, or neither"
        entry.findings.warn(line, entry.path, f"a {there} without a {missing}", mend)
    return Credential(username, password, identity_token or None) if username or identity_token else None


def _parse_mirror(text: str, registry: str) -> str:
    """Return a mirror of `registry`: a host, and perhaps the prefix of its names."""
    mend = "write mirror.example:5000, or mirror.example/proxy-cache where the names there begin with that"
    mirror = text.strip().rstrip("/")
    host, _, path = mirror.partition("/")
    try:
        is_one = parse_repository(f"{mirror}/image").registry == canonical_registry(host) and "://" not in mirror
    except InvalidReference:
        is_one = False
    if not is_one:
        raise RuleError(f"“{shown(text)}” is no mirror", mend)
    if canonical_registry(host) == registry and not path:
        raise RuleError(f"“{shown(text)}” is the registry itself", mend)
    return f"{canonical_registry(host)}/{path}" if path else canonical_registry(host)


def _read_rate(entry: Fields) -> RateSchedule | None:
    node, errors_before = entry.nodes.get("rate"), len(entry.findings.errors)
    if not isinstance(node, SequenceNode):
        return entry.parsed("rate", lambda text: RateSchedule.parse(text) if text else None, _RATE_MEND)
    windows = [_read_window(item, f"{entry.key('rate')}[{at}]", entry) for at, item in enumerate(node.items)]
    if len(entry.findings.errors) > errors_before:
        return None
    try:
        return RateSchedule.of([one for one in windows if one])
    except ValueError as error:
        entry.error("rate", str(error), _RATE_MEND)
        return None


def _read_window(node: Node, key: str, entry: Fields) -> RateWindow | None:
    fields = read_fields(node, WINDOW_KEYS, key, entry.findings, entry.dialect)
    if fields is None:
        return None
    rate, *times = map(fields.text, WINDOW_KEYS)

    def build(rate: str) -> RateWindow:
        if not rate:
            raise ValueError("there is no rate")
        return build_window(rate, *times)

    return entry.findings.attempt(build, rate, node.line, key, _RATE_MEND)


def _read_network(entry: Fields) -> Network:
    if not any(name in entry for name in NETWORK_KEYS):
        return DIRECT
    cert, key = entry.file("client_cert", _PEM_MEND), entry.file("client_key", _PEM_MEND)
    password = entry.secret("client_key_password", Expansion.BRACED)
    for name in ("client_key", "client_key_password"):
        if name in entry and "client_cert" not in entry:
            entry.error(name, f"{name} without client_cert", "name the certificate that it belongs to")
    proxy, http_version = _read_proxy(entry), entry.choice("http_version", _HTTP_VERSIONS)
    if http_version == "3" and proxy not in (None, NO_PROXY):
        entry.error("http_version", "HTTP/3 goes through no proxy", "write 2, or no proxy")
    ip_version = entry.choice("ip_version", _IP_VERSIONS)
    interface = entry.text("interface").strip()
    if interface and not _INTERFACE.fullmatch(interface):
        what = f"{shown(interface)} is neither an interface nor an address of this machine"
        entry.error("interface", what, "write eth0 or 192.0.2.10")
    network = Network(
        proxy=proxy,
        client_cert=cert,
        client_key=key,
        client_key_password=password or None,
        resolve=entry.parsed_items("resolve", _parse_resolve),
        interface=interface or None,
        ip_version=int(ip_version) if ip_version else None,
        http_version=http_version,
        headers=_read_headers(entry),
    )
    return DIRECT if network.is_default else network


def _read_proxy(entry: Fields) -> str | None:
    text = entry.secret("proxy", Expansion.BRACED)
    if not text:
        return None
    if text.strip().lower() == NO_PROXY:
        return NO_PROXY
    mend = "write none, http://proxy.example:3128, or socks5h://…; user:${PASSWORD}@ before the host"
    return entry.findings.attempt(parse_proxy, text, entry.nodes["proxy"].line, entry.key("proxy"), mend)


def _parse_resolve(text: str) -> str:
    match = None if _is_address(text.strip()) else _HOST_AND_PORT.fullmatch(text.strip())
    head = f"{match['host'].lower()}:{int(match['port'])}:" if match else ""
    addresses = [one.strip() for one in (match["rest"] if match else text).split(",")]
    if not all(map(_is_address, addresses)) or (match and not 0 < int(match["port"]) <= _LAST_PORT):
        mend = "write an address, or host:port:address as for curl --resolve"
        raise RuleError(f"{shown(text)} is neither an address nor host:port:address", mend)
    return head + ",".join(f"[{one}]" if ":" in one and not one.startswith("[") else one for one in addresses)


def _is_address(text: str) -> bool:
    try:
        ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return False
    return "%" not in text  # libcurl takes no zone here


def _read_headers(entry: Fields) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for node, value_node in entry.mapping("headers"):
        name, key = node.text, key_path(entry.key("headers"), node.text)
        text = read_text(value_node, key, entry.findings) or ""
        value = entry.expanded(text, Expansion.BRACED, value_node.line, key).strip(" ")
        what = mend = None
        if not _HEADER_NAME.fullmatch(name):
            what, mend = f"“{shown(name)}” is no name of a header", "write letters, digits and “-”"
        elif (own := _OWN_HEADERS.get(name.lower())) is not None:
            what, mend = f"the header {name} cannot be set", own
        elif name.lower() in found:
            what, mend = f"the header {name} is there twice", "keep one of them"
        elif not _HEADER_VALUE.fullmatch(value):
            what = "the value is empty, or has characters that no header may have (control characters, not ASCII)"
            mend = "write a text of ASCII characters in one line"
        if what is None:
            found[name.lower()] = (name, value)
        else:
            entry.findings.error(value_node.line, key, what, mend)
    return tuple(found.values())


def _read_profile(entry: Fields, registry: str) -> Profile | None:
    """Return the profile of the host `registry`: a name, or a mapping over the profile of its kind."""
    if not isinstance(entry.nodes.get("profile"), MappingNode):
        return _read_profile_name(entry, "profile")
    strict = replace(entry, dialect=replace(entry.dialect, strict=True, any_case=False))
    fields = strict.fields("profile", PROFILE_FIELDS)
    if fields is None:
        return None
    base = _read_profile_name(fields, "kind") if "kind" in fields else recognise_host(registry)
    return None if base is None else replace(base, **_read_overrides(fields))


def _read_profile_name(fields: Fields, key: str) -> Profile | None:
    name = fields.text(key)
    if name and name not in PROFILES:
        guess = nearest(name, tuple(PROFILES))
        known = f"known are {', '.join(PROFILES)}"
        fields.error(key, f"“{shown(name)}” is no profile", f"did you mean “{guess}”? {known}" if guess else known)
    return PROFILES.get(name)


def _read_overrides(fields: Fields) -> dict[str, Any]:
    values: dict[str, Any] = {name: fields.flag(name) for name in OVERRIDABLE_FLAGS if name in fields}
    for name in OVERRIDABLE_SIZES:
        values[name] = fields.size(name)
        if values[name] == 0:
            fields.error(name, "0 is no size of a piece", "write a size: 16MiB")
    values["page_size"] = count = fields.count("page_size", least=0)
    if count is not None and count > MAX_PAGE_SIZE:
        fields.error("page_size", f"{count} names at once are too many", f"write at most {MAX_PAGE_SIZE}")
    words = [mounts.value for mounts in Mounts]
    mounts = fields.text("mounts")
    if mounts and mounts not in words:
        fields.error("mounts", f"“{shown(mounts)}” does not say where mounts work", f"write {' or '.join(words)}")
    elif mounts:
        values["mounts"] = Mounts(mounts)
    return {name: value for name, value in values.items() if value is not None}


def _read_cloud(entry: Fields) -> CloudSettings | None:
    """Return the cloud of the entry: a name, or a mapping."""
    if not isinstance(entry.nodes.get("cloud"), MappingNode):
        name = _read_cloud_name(entry, "cloud")
        return CloudSettings(name) if name else None
    fields = entry.fields("cloud", CLOUD_FIELDS)
    if fields is None:
        return None
    texts = {name: fields.text(name) or None for name in CLOUD_FIELDS[1:]}
    endpoint = texts["endpoint"]
    if endpoint is not None and not endpoint.startswith(("https://", "http://")):
        fields.error("endpoint", f"“{shown(endpoint)}” is no address", "write https://host")
    elif endpoint is not None and not endpoint.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        what = "what is sent to this address can be read on the way, tokens included"
        fields.findings.warn(fields.nodes["endpoint"].line, fields.key("endpoint"), what, "write https://host")
    return CloudSettings(_read_cloud_name(fields, "name"), **texts)


def _read_cloud_name(fields: Fields, key: str) -> str | None:
    text = fields.text(key)
    word = text.lower()
    if word in _NO_CLOUD_WORDS:
        return NO_CLOUD
    if not word or word in CLOUDS:
        return word or None
    guess = nearest(word, CLOUDS)
    mend = f"did you mean “{guess}”?" if guess else f"write one of {', '.join(CLOUDS)}, or {NO_CLOUD}"
    fields.error(key, f"“{shown(text)}” is no cloud that is known", mend)
    return None


def _read_creation(entry: Fields) -> RepositoryTemplate | None:
    """Return how repositories are created: `true`, `false` or a mapping."""
    if "create_repositories" not in entry:
        return None
    if not isinstance(entry.nodes["create_repositories"], MappingNode):
        return RepositoryTemplate(create=entry.flag("create_repositories"))
    fields = entry.fields("create_repositories", CREATION_FIELDS)
    if fields is None:
        return None
    flags = {name: fields.flag(name) for name in ("immutable", "scan_on_push", "public") if name in fields}
    tags = [
        (name.text, text)
        for name, value in fields.mapping("tags")
        if (text := read_text(value, key_path(fields.key("tags"), name.text), fields.findings)) is not None
    ]
    return RepositoryTemplate(tags=tuple(tags), kms_key=fields.text("kms_key") or None, **flags)
