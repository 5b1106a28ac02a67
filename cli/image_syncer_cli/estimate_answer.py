"""What `estimate` says, in words or as data."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from image_syncer_cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer import Budget, BudgetAnswer, PlanAccount, Question, WhatIf

__all__ = ["EstimateAnswer"]

GIGABYTE = 1e9
MOST_WAITS = 3
_LABEL = 14


class EstimateAnswer:
    """An estimate, the best settings, and whether a budget is kept. Raises ValueError where nothing bounds the run."""

    def __init__(
        self,
        question: Question,
        account: PlanAccount,
        prices: dict[str, float],
        budget: Budget | None,
        window_bytes: int | None,
    ) -> None:
        from image_syncer import answer_budget, best_settings, estimate

        if window_bytes is not None:
            question = replace(question, settings=replace(question.settings, window_bytes=window_bytes))
        self._question = question
        self._account = account
        self._prices = prices
        self._budget = budget
        self._waits = account.waits()
        self._least_s = max((wait.seconds for wait in self._waits[:1]), default=0.0)
        self._found = estimate(question)
        best = estimate(replace(question.sketch, settings=best_settings(question)))
        scale = self._found.seconds / question.sketch.seconds if question.sketch.seconds else 1.0
        self._best = replace(best, seconds=best.seconds * scale, p90_s=best.p90_s * scale)
        self._kept: BudgetAnswer | None = None
        if budget is not None:
            self._kept = answer_budget(question, budget, least_s=self._least_s)

    @property
    def fits(self) -> bool:
        """Whether something keeps to the budget in nine cases of ten, and published limits do."""
        return self._kept is None or self._kept.fits

    def lines(self) -> Iterator[str]:
        """In words."""
        from image_syncer.units import format_duration, format_size

        found, forecast = self._found, self._found.forecast
        moves = f"{format_size(forecast.bytes_moved)} in {forecast.blobs_moved:,} blobs"
        rows = [
            ("Time", f"{format_duration(found.seconds)}; nine of ten runs within {format_duration(found.p90_s)}"),
            ("Waits for", ", then ".join(dict.fromkeys(phase.bottleneck for phase in forecast.phases)) or "nothing"),
            ("Moves", f"{moves}, {forecast.blobs_mounted:,} mounted"),
            ("Takes", f"{forecast.cpu_s:,.1f} s of processors, {format_size(forecast.memory_bytes)} of memory"),
            ("With", f"{found.workers} workers × {found.streams} streams"),
        ]
        best = self._best
        if (best.workers, best.streams) != (found.workers, found.streams):
            rows.append(("Best", f"--workers {best.workers} --streams {best.streams}: {format_duration(best.seconds)}"))
        rows += [*self._limit_rows(), *self._budget_rows(), *self._cost_rows()]
        yield from (f"{label:<{_LABEL}}{printable(text)}" for label, text in rows)
        yield ""
        yield from (f"  {format_duration(one.seconds):>12}  with {one.change}" for one in self._changes())

    def _changes(self) -> Iterator[WhatIf]:
        from image_syncer import what_if

        return what_if(self._question)

    def _limit_rows(self) -> Iterator[tuple[str, str]]:
        """Published limits that take longer than the run."""
        from image_syncer.units import format_duration

        for wait in self._waits[:MOST_WAITS]:
            if wait.seconds > self._found.seconds:
                least = format_duration(wait.seconds)
                yield "Limit", f"{wait.registry}: {wait.count:,} {wait.operations} at {wait.rate}: {least} at least"

    def _budget_rows(self) -> Iterator[tuple[str, str]]:
        from image_syncer.units import format_duration

        kept, budget = self._kept, self._budget
        if kept is None or budget is None:
            return
        if not kept.fits:
            yield "Budget", f"{budget} is not enough:"
            yield from (("", reason) for reason in kept.reasons)
            return
        words = f"--workers {kept.workers} --streams {kept.streams} --window {_size_word(kept.window_bytes)}"
        if budget.bytes_per_s is not None:
            words += f" --rate {_size_word(int(budget.bytes_per_s / kept.hosts))}/s"
        hosts = f" on each of {kept.hosts} hosts, with a part of the images" if kept.hosts > 1 else ""
        yield "Budget", f"{budget} is enough{hosts}: {words}"
        yield "", f"nine of ten runs within {format_duration(kept.p90_s)}"

    def _cost_rows(self) -> Iterator[tuple[str, str]]:
        for registry, cost in self._costs().items():
            yield "Cost", f"{cost:,.2f} for what goes out of {registry}"

    def _costs(self) -> dict[str, float]:
        """By registry: each distinct blob leaves its source once, whatever the number of destinations."""
        out = self._account.bytes_out
        return {registry: price * out.get(registry, 0) / GIGABYTE for registry, price in self._prices.items()}

    def as_data(self) -> dict[str, Any]:
        """For `--json`."""
        found, forecast = self._found, self._found.forecast
        kept, budget = self._kept, self._budget
        told = None
        if kept is not None and budget is not None:
            told = {"seconds": budget.seconds, "bytes_per_s": budget.bytes_per_s, "fits": kept.fits, **asdict(kept)}
        return {
            "seconds": found.seconds,
            "p90_s": found.p90_s,
            "bottleneck": forecast.bottleneck,
            "phases": [asdict(phase) for phase in forecast.phases],
            "bytes_moved": forecast.bytes_moved,
            "blobs_moved": forecast.blobs_moved,
            "blobs_mounted": forecast.blobs_mounted,
            "cpu_s": forecast.cpu_s,
            "memory_bytes": forecast.memory_bytes,
            "workers": found.workers,
            "streams": found.streams,
            "best": {"workers": self._best.workers, "streams": self._best.streams, "seconds": self._best.seconds},
            "published_limits_s": self._least_s,
            "limits": [asdict(wait) for wait in self._waits],
            "fits": None if kept is None else kept.fits,
            "budget": told,
            "costs": self._costs(),
            "what_if": [{"change": one.change, "seconds": one.seconds} for one in self._changes()],
        }


def _size_word(size_bytes: int) -> str:
    """As options take it: the largest unit in which it is a whole number."""
    for unit, factor in (("GiB", 2**30), ("GB", 10**9), ("MiB", 2**20), ("MB", 10**6), ("KiB", 2**10), ("KB", 10**3)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)
