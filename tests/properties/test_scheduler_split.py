"""The scheduler's machine, with destinations that are split off, in every order of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from image_syncer.errors import SyncError
from image_syncer.scheduling import BlobOutcome
from properties.test_scheduler import SchedulerMachine

if TYPE_CHECKING:
    from image_syncer.scheduling import BlobTarget, Job


class SplitMachine(SchedulerMachine):
    def lease(self, worker: int, job: Job) -> None:
        # For the base, what was split off from a job is not moved by it.
        hidden = [(other, list(other.targets)) for _, other in self.all_held() if other.settled]
        for other, targets in hidden:
            other.targets[:] = [target for at, target in enumerate(targets) if at not in other.settled]
        try:
            super().lease(worker, job)
        finally:
            for other, targets in hidden:
                other.targets[:] = targets
        assert len({target.split for target in job.targets}) == 1
        assert job.settled == ()

    def splittable(self) -> list[tuple[int, Job]]:
        return [(worker, job) for worker, job in self.all_held() if job.may_split and not job.settled]

    @precondition(lambda self: self.splittable())
    @rule(data=st.data())
    def targets_fall_behind(self, data: st.DataObject) -> None:
        worker, job = data.draw(st.sampled_from(self.splittable()))
        number = len(job.targets)
        positions = st.sets(st.integers(0, number - 1), min_size=1, max_size=number - 1)
        behind = tuple(sorted(data.draw(positions)))
        event(f"split {len(behind)} of {number}")
        self.carry_out(self.scheduler.split(worker, job.id, behind))

    def result_of(self, job: Job, target: BlobTarget, ending: str) -> BlobOutcome:
        if job.targets.index(target) in job.settled:
            return BlobOutcome(None, error=SyncError("it held the others back"), behind=True)
        return super().result_of(job, target, ending)


TestSplit = SplitMachine.TestCase
TestSplit.settings = settings(stateful_step_count=50, deadline=None)
