"""The loader: reads the files that the user names, and reports every mistake in all of them at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.config.document import MalformedText, MappingNode, parse_document
from image_syncer.config.fields import Dialect, Expansion
from image_syncer.config.file_reading import directory_of, find_readable, mode_warning, read_file
from image_syncer.config.findings import Findings, shown
from image_syncer.config.model import CatalogRule, Configuration
from image_syncer.config.own_format import (
    find_collisions,
    is_go_config,
    is_own_format,
    lacks_version,
    read_go_config,
    read_go_images,
    read_own,
)
from image_syncer.config.registries import read_registries
from image_syncer.config.registry_book import RegistryBook
from image_syncer.config.rules import PlacedRule, resolve_paths
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from image_syncer.config.document import Node, Tree
    from image_syncer.config.policy import Policy
    from image_syncer.config.registry_book import RegistryEntry


MAX_PROBLEMS = 100
"""Problems that are reported; of more, only the number."""

_CONFIG, _AUTH, _IMAGES = "config", "auth", "images"
_Found = tuple[tuple["RegistryEntry", ...], list[PlacedRule | CatalogRule]]


def load_configuration(
    *,
    config: str | None = None,
    auth: str | None = None,
    images: str | None = None,
    environ: Mapping[str, str],
) -> Configuration:
    """Load the configuration: one file (`config`), or rules (`images`) and perhaps registries (`auth`).

    Each file may be in the Go tool's format or in ours. Raises ConfigurationError with all problems of all files.
    """
    if config and (auth or images):
        raise ConfigurationError("--config was given together with --auth or --images", hint="Use one or the other.")
    if not config and not images:
        raise ConfigurationError(
            "there is nothing to copy: no file with rules was given",
            hint="Use --images FILE (with --auth FILE for passwords), or --config FILE.",
        )
    reader = _Reader(environ)
    if config:
        entries, rules = reader.read(config, _CONFIG)
    else:
        entries, other_rules = reader.read(auth, _AUTH) if auth else ((), [])
        other_entries, rules = reader.read(str(images), _IMAGES)
        if auth != images:
            reader.warn_of_unused(auth, other_rules, "rules", "give the file as --images, or as --config")
            reader.warn_of_unused(images, other_entries, "registries", "give the file as --auth, or as --config")
    nothing = Problem(str(config or images), None, None, "there is no rule in it: nothing to copy")
    return checked_configuration(
        entries, rules, reader.policies, reader.errors, reader.warnings, nothing=None if rules else nothing
    )


def checked_configuration(
    entries: Sequence[RegistryEntry],
    rules: Sequence[PlacedRule | CatalogRule],
    policies: Iterable[Policy],
    errors: Sequence[Problem],
    warnings: Sequence[Problem],
    *,
    nothing: Problem | None = None,
) -> Configuration:
    """Return the configuration. Raises ConfigurationError with the errors, and those between rules; `nothing` is the
    error where there is no other.
    """
    catalogs = tuple(rule for rule in rules if isinstance(rule, CatalogRule))
    placed_rules = [rule for rule in rules if not isinstance(rule, CatalogRule)]
    collisions, overlaps = find_collisions(placed_rules)
    wrong = list(dict.fromkeys([*errors, *collisions]))
    dubious = list(dict.fromkeys([*warnings, *overlaps]))
    if not wrong and nothing is not None:
        wrong = [nothing]
    if wrong:
        raise ConfigurationError(_with_warnings(wrong, dubious))
    return Configuration(
        tuple(placed.rule for placed in placed_rules),
        RegistryBook(entries),
        _bounded(dubious),
        catalogs,
        tuple(policies),
    )


def load_registries(auth: str, *, environ: Mapping[str, str]) -> Configuration:
    """Load an auth file alone, as a configuration without rules. Raises ConfigurationError with all its problems."""
    reader = _Reader(environ)
    entries, rules = reader.read(auth, _AUTH)
    reader.warn_of_unused(auth, rules, "rules", "give the file to `sync` as --config")
    if reader.errors:
        raise ConfigurationError(_with_warnings(reader.errors, reader.warnings))
    return Configuration((), RegistryBook(entries), _bounded(reader.warnings), policies=tuple(reader.policies))


def _with_warnings(errors: list[Problem], warnings: list[Problem]) -> tuple[Problem, ...]:
    """Return the errors, and the warnings after them."""
    return _bounded([*errors, *(replace(warning, what=f"warning: {warning.what}") for warning in warnings)])


def _bounded(problems: list[Problem]) -> tuple[Problem, ...]:
    more = len(problems) - MAX_PROBLEMS
    if more <= 0:
        return tuple(problems)
    return (*problems[:MAX_PROBLEMS], Problem(problems[0].file, None, None, f"… and {more} more"))


class _Reader:
    """Reads files and collects their problems."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.policies: dict[Policy, None] = {}
        """Of all files, each once."""
        self._environ = environ
        self._with_registries: set[str] = set()
        """Files that say how registries are reached, and may therefore name programs."""
        self._trees: dict[str, Tree | None] = {}

    def read(self, path: str, role: str) -> _Found:
        """Return the registries and rules of a file. A file given twice is opened once: it may be a pipe."""
        findings = Findings(shown(path))
        if role != _IMAGES:
            self._with_registries.add(path)
        if path not in self._trees:
            self._trees[path] = self._parse(path, findings)
        tree = self._trees[path]
        found: _Found = ((), [])
        if tree is not None and tree.root is not None:
            entries, rules = self._read_root(tree.root, role, findings, path, any_case=tree.is_json)
            directory = directory_of(path)
            found = entries, [resolve_paths(directory, rule) for rule in rules]
            self._check_mode(path, findings)
        self.errors += sorted(findings.errors, key=lambda problem: problem.line or 0)
        self.warnings += findings.warnings
        return found

    def _check_mode(self, path: str, findings: Findings) -> None:
        try:
            mode = Path(path).stat().st_mode
        except OSError:
            return  # it was there when it was read
        warning = mode_warning(mode, path, holds_secret=findings.holds_secret)
        if warning is not None:
            findings.warn(None, None, *warning)

    def warn_of_unused(self, path: str | None, unused: Sequence[object], key: str, mend: str) -> None:
        """Warn of a part of a file that its role ignores."""
        if unused:
            self.warnings.append(Problem(shown(str(path)), None, key, "not read from this file", mend))

    def _parse(self, path: str, findings: Findings) -> Tree | None:
        try:
            tree = parse_document(read_file(path), path)
        except ConfigurationError as error:
            findings.errors += error.problems
            return None
        except MalformedText as error:
            findings.error(error.line, None, error.what, error.mend)
            return None
        if tree.root is None:
            findings.error(None, None, "the file is empty", "write {} where nothing is wanted")
        for duplicate in tree.duplicates:
            findings.error(
                duplicate.line,
                shown(duplicate.key),
                f"the key is written twice: on line {duplicate.first_line} and on line {duplicate.line}",
                "keep one of them; a source with several destinations takes a list",
            )
        if tree.rest_line is not None:
            own = tree.root is not None and is_own_format(tree.root)
            report = findings.error if own else findings.warn
            what = "what follows the first document is not read"
            report(tree.rest_line, None, what, "remove it, or use two files")
        return tree

    def _read_root(self, root: Node, role: str, findings: Findings, path: str, *, any_case: bool) -> _Found:
        if isinstance(root, MappingNode) and is_own_format(root):
            dialect = self._dialect(path, strict=True, secrets=Expansion.BRACED)
            if (policy := root.get("policy")) is not None:
                runs_programs = path in self._with_registries
                from image_syncer.config.policy import read_policies

                found = read_policies(policy, findings, dialect, runs_programs=runs_programs)
                self.policies |= dict.fromkeys(found)
            return read_own(root, findings, dialect)
        if lacks_version(root):
            findings.error(root.line, None, "the file has `rules` and does not say `version: 2`", "write it at its top")
            return (), []
        if role == _CONFIG:
            dialect = self._dialect(path, any_case=any_case, secrets=Expansion.WHOLE)
            entries, rules = read_go_config(root, findings, dialect)
            return entries, [*rules]
        if is_go_config(root):
            findings.error(root.line, None, "the file holds both `auth` and `images`", "give it as --config")
            return (), []
        dialect = self._dialect(path, any_case=any_case, secrets=Expansion.ANYWHERE)
        if role == _AUTH:
            return read_registries(root, "", findings, dialect), []
        return (), [*read_go_images(root, findings, dialect)]

    def _dialect(self, path: str, *, secrets: Expansion, strict: bool = False, any_case: bool = False) -> Dialect:
        def find_file(name: str) -> tuple[str, bool]:
            return find_readable(str(Path(path).parent), name)

        destinations = Expansion.BRACED if strict else Expansion.ANYWHERE
        return Dialect(strict, any_case, secrets, destinations, self._environ, find_file)
