"""What becomes of a rule whose images are not known, or not begun: an entry for each destination, so that nothing ends
silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config import Rule
from image_syncer.config.catalogs import CatalogRule
from image_syncer.coordinator.ledger import failed, not_begun
from image_syncer.coordinator.retry_facts import image_facts, rule_facts
from image_syncer.errors import Origin, ProtocolViolation, SyncError
from image_syncer.telemetry import ImageResult, Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.coordinator.catalogs import Expanded
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.oci import Reference
    from image_syncer.planning import Breakers

__all__ = ["RuleOutcomes", "destinations_of"]


class RuleOutcomes:
    """Plans and enters them in the ledger of a run."""

    def __init__(self, ledger: Ledger, breakers: Breakers) -> None:
        self._ledger = ledger
        self._breakers = breakers

    def enter_expanded(self, expanded: Expanded) -> None:
        """What of catalog rules did not become rules for the repositories that are there."""
        for catalog, error in expanded.failed:
            error.located(repository=catalog.registry, operation="list catalog")
            for destination in _repositories(catalog):
                self._ledger.plan(catalog.written, destination)
                self._ledger.enter(failed(catalog.written, destination, error.copy(), rule=rule_facts(catalog)))
        for catalog, name in expanded.unusable:
            error = ProtocolViolation(f"the registry lists a repository that nobody can name: {name}")
            error.origin = Origin.SOURCE
            error.located(repository=catalog.registry, operation="list catalog")
            for destination in _repositories(catalog):
                source = f"{catalog.registry}/{name}"
                self._ledger.plan(source, destination)
                self._ledger.enter(failed(source, destination, error.copy(), rule={"unusable": True}))
        for catalog in expanded.empty:
            self.enter(catalog, Outcome.SKIPPED, "no repository of the registry matches the rule")

    def fail(self, rule: Rule, error: SyncError) -> None:
        """The tags of a rule cannot be listed."""
        error.located(repository=str(rule.source), operation="list tags")
        for destination in _repositories(rule):
            self._ledger.plan(str(rule.source), destination)
            self._ledger.enter(failed(str(rule.source), destination, error, rule=rule_facts(rule)))

    def enter_given_up(self, rule: Rule) -> None:
        """The registry of the source was given up before the tags of a rule were listed."""
        for destination in _repositories(rule):
            error = self._breakers.of(rule.source.registry).down_error()
            error.origin = Origin.SOURCE
            error.located(repository=str(rule.source), operation="list tags")
            self._ledger.plan(str(rule.source), destination)
            self._ledger.enter(not_begun(str(rule.source), destination, error, rule=rule_facts(rule)))

    def leave(self, rule: Rule | CatalogRule, reason: str) -> None:
        """Not all of the rule was tried, for `reason`: its images are entered, or the rule where they are not known.

        Of one whose tags are listed, those that were begun have entries of their own.
        """
        if isinstance(rule, CatalogRule) or rule.tags.needs_listing:
            self.enter(rule, Outcome.NOT_TRIED, reason, rule_facts(rule))
            return
        facts = image_facts(rule.platforms, rule.referrers, rule.only)
        for position, source in enumerate(rule.references()):
            for destination in destinations_of(rule, source, position):
                self._ledger.plan(str(source), str(destination))
                result = ImageResult(str(source), str(destination), Outcome.NOT_TRIED, reason=reason)
                self._ledger.enter(replace(result, rule=facts))

    def enter(
        self, rule: Rule | CatalogRule, outcome: Outcome, reason: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        """A rule without images of its own still has an entry for each destination: nothing ends silently."""
        source = str(rule.source) if isinstance(rule, Rule) else rule.written
        for destination in _repositories(rule):
            self._ledger.plan(source, destination)
            self._ledger.enter(ImageResult(source, destination, outcome, reason=reason, rule=facts))


def destinations_of(rule: Rule, source: Reference, position: int) -> tuple[Reference, ...]:
    """Where an image goes, each place once, whatever was written twice."""
    return tuple(dict.fromkeys(destination.reference_for(source, position) for destination in rule.destinations))


def _repositories(rule: Rule | CatalogRule) -> list[str]:
    if isinstance(rule, CatalogRule):
        return [str(template) for template in rule.destinations]
    return list(dict.fromkeys(str(destination.repository) for destination in rule.destinations))
