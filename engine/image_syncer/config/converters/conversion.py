"""The conversion of files that the user names into the text of a file in our own format."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from image_syncer.config.converters.draft import ConversionOptions, Draft, converter_dialect, prove
from image_syncer.config.converters.dregsy import draft_dregsy
from image_syncer.config.converters.go_files import draft_go_auth, draft_go_images
from image_syncer.config.converters.regsync import draft_regsync
from image_syncer.config.converters.skopeo import SKOPEO_KEYS, draft_skopeo
from image_syncer.config.document import MalformedText, MappingNode, SequenceNode, parse_document
from image_syncer.config.fields import Expansion
from image_syncer.config.file_reading import read_file
from image_syncer.config.findings import Findings, shown
from image_syncer.config.own_format import GO_KEYS, is_own_format, read_go_images
from image_syncer.config.registries import read_registries
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.values import TextEnum, Value

if TYPE_CHECKING:
    from image_syncer.config.converters.draft import SecretNote
    from image_syncer.config.document import Node, Tree


class FileFormat(TextEnum):
    """The formats that can be converted; the values are the words of the command line."""

    GO = "go"
    REGSYNC = "regsync"
    SKOPEO = "skopeo"
    DREGSY = "dregsy"

    @property
    def tool(self) -> str:
        """The name of the tool for the user."""
        return {"go": "the Go tool", "skopeo": "skopeo sync"}.get(self.value, self.value)


_DRAFTERS = {
    FileFormat.REGSYNC: draft_regsync,
    FileFormat.SKOPEO: draft_skopeo,
    FileFormat.DREGSY: draft_dregsy,
}


class Conversion(Value, frozen=True):
    """The result of a conversion: the `text` of the new file, `warnings` of what it cannot say, the variables that it
    refers to instead of `secrets`, and how many `rules` it has, and how many were `left_out`.
    """

    text: str
    format: FileFormat
    warnings: tuple[Problem, ...]
    secrets: tuple[SecretNote, ...]
    rules: int
    left_out: int

    @property
    def tool(self) -> str:
        """The name of the tool for the user."""
        return self.format.tool


def convert_files(
    *,
    file: str | None = None,
    auth: str | None = None,
    images: str | None = None,
    source_format: FileFormat | None = None,
    options: ConversionOptions | None = None,
) -> Conversion:
    """Convert `file`, or the Go tool's `auth` and `images`, to our own format. Without `source_format`, the format is
    recognised. Variables need no values. Raises ConfigurationError with every mistake in the files.
    """
    paths = [path for path in (file, auth, images) if path is not None]
    if not paths or (file is not None and len(paths) > 1):
        raise ConfigurationError("nothing to convert: give FILE, or --auth FILE and --images FILE")
    if file is None and source_format not in {None, FileFormat.GO}:
        raise ConfigurationError(f"--auth and --images are files of the Go tool, not of {source_format}")
    drafts = [Draft(Findings(shown(path)), options or ConversionOptions()) for path in paths]
    trees = [_parse(path, draft.findings) for path, draft in zip(paths, drafts, strict=True)]
    roots = [tree.root for tree in trees]
    found = source_format if file is None else source_format or recognise_format(roots[0])
    if file is not None and found is None:
        raise ConfigurationError([Problem(shown(file), None, None, "no file of a tool that is known", _KNOWN)])
    is_go = file is None or found is FileFormat.GO
    for path, tree, draft in zip(paths, trees, drafts, strict=True):
        if is_go:
            role = "auth" if path == auth else "images" if path == images else _role(tree.root)
            _draft_go(draft, tree, path, role)
        elif found is not None and tree.root is not None:
            _DRAFTERS[found](draft, tree.root)
    errors = [problem for draft in drafts for problem in draft.findings.errors]
    if errors:
        raise ConfigurationError(list(dict.fromkeys(errors)))
    return _finish(drafts, found or FileFormat.GO, paths)


_KNOWN = "name it with --from: go, regsync, skopeo or dregsy"


def _finish(drafts: list[Draft], found: FileFormat, paths: list[str]) -> Conversion:
    first, *others = drafts
    for other in others:
        first.registries |= other.registries
        first.rules += other.rules
        first.notes += other.notes
        first.secrets += other.secrets
    names = " and ".join(shown(posixpath.basename(path)) for path in paths)
    text = prove(first, [f"Made by `image-syncer config convert` from {names} ({found.tool})."])
    warnings = [problem for draft in drafts for problem in draft.findings.warnings]
    return Conversion(
        text,
        found,
        tuple(dict.fromkeys(warnings)),
        tuple(first.secrets),
        sum(not rule.refusal for rule in first.rules),
        sum(bool(rule.refusal) for rule in first.rules),
    )


def _parse(path: str, findings: Findings) -> Tree:
    try:
        tree = parse_document(read_file(path), path)
    except MalformedText as error:
        raise ConfigurationError([Problem(findings.file, error.line, None, error.what, error.mend)]) from None
    if not isinstance(tree.root, MappingNode):
        what = "the file is empty" if tree.root is None else "no mapping, where keys with values are wanted"
        raise ConfigurationError([Problem(findings.file, None, None, what)])
    if is_own_format(tree.root) and recognise_format(tree.root) is not FileFormat.REGSYNC:
        raise ConfigurationError([Problem(findings.file, 1, "version", "the file is in our own format already")])
    for duplicate in tree.duplicates:
        what = f"the key is written twice: on line {duplicate.first_line} and on line {duplicate.line}"
        findings.error(duplicate.line, shown(duplicate.key), what, "keep one of them")
    if tree.rest_line is not None:
        findings.warn(tree.rest_line, None, "what follows the first document is not read")
    return tree


def _role(root: Node | None) -> str:
    entries = root.entries if isinstance(root, MappingNode) else ()
    if {key.text.lower() for key, _ in entries} <= set(GO_KEYS):
        return "config"
    return "auth" if all(isinstance(value, MappingNode) for _, value in entries) else "images"


def _draft_go(draft: Draft, tree: Tree, path: str, role: str) -> None:
    """Add a file of the Go tool. It is first read as for a run, with its errors and warnings."""
    root, folder = tree.root, posixpath.dirname(path)
    secrets = Expansion.WHOLE if role == "config" else Expansion.ANYWHERE
    dialect = converter_dialect(False, secrets, Expansion.ANYWHERE, any_case=tree.is_json)
    parts: dict[str, Node] = {role: root} if root is not None else {}
    if role == "config" and isinstance(root, MappingNode):
        parts = {key.text.lower(): value for key, value in root.entries}
    findings, is_whole = draft.findings, role == "config"
    if "auth" in parts:
        key = "auth" if is_whole else ""
        read_registries(parts["auth"], key, findings, dialect)
        if not findings.errors:
            draft_go_auth(draft, parts["auth"], folder, dialect, key=key)
    if "images" in parts:
        key = "images" if is_whole else ""
        read_go_images(parts["images"], findings, dialect, key)
        if not findings.errors:
            draft_go_images(draft, parts["images"], key=key)


def recognise_format(root: Node | None) -> FileFormat | None:
    """Return the format of a file by its keys; None where no tool has such files."""
    if not isinstance(root, MappingNode) or not root.entries:
        return None
    if isinstance(root.get("sync"), SequenceNode):
        return FileFormat.REGSYNC
    if isinstance(root.get("tasks"), SequenceNode):
        return FileFormat.DREGSY
    values = [value for _, value in root.entries]
    if all(isinstance(value, MappingNode) and any(map(value.get, SKOPEO_KEYS)) for value in values):
        return FileFormat.SKOPEO
    return FileFormat.GO
