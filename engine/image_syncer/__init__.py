"""image-syncer: copies container images between registries by streaming, through bounded memory only.

    from image_syncer import Settings, load_configuration, sync

    configuration = load_configuration(auth="auth.yaml", images="images.yaml", environ=os.environ)
    report = sync(configuration, Settings(report_path="report.json"))
    print(report.summary_line())

In a running event loop: `report = await sync_async(configuration, settings)`, or with its events.

Public are the names of `__all__` here, in `image_syncer.embedded` (a registry for tests and demos), in
`image_syncer.units` (sizes, rates, durations) and in `image_syncer.errors`, and the names of other modules in
docs/api.md. The rest may change.

Names are resolved when they are first used (PEP 562), so that a worker process loads only its own rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.api import plan, prune, sync, verify
    from image_syncer.async_runs import AsyncRun, plan_async, prune_async, sync_async, verify_async
    from image_syncer.config.conflicts import OnConflict, parse_on_conflict
    from image_syncer.config.loader import load_configuration, load_registries
    from image_syncer.config.making import make_configuration
    from image_syncer.config.model import Configuration, Only, Rule
    from image_syncer.config.policy import NameLists, NamePattern, OnRefusal, Policy, PolicyCommand, parse_name_pattern
    from image_syncer.config.pruning import Pruning, parse_share
    from image_syncer.config.rate_schedule import RateSchedule
    from image_syncer.config.referrers import ReferrerSelection, parse_referrer_selection
    from image_syncer.config.registry_book import RegistryBook, RegistryEntry
    from image_syncer.config.rules import rule_from_arguments
    from image_syncer.config.settings import ForeignLayers, MissingPlatform, Settings
    from image_syncer.control.run_control import RunControl
    from image_syncer.coordinator.policy import PolicyError
    from image_syncer.credentials.found import CredentialError
    from image_syncer.dispatch.worker_processes import prepare_workers
    from image_syncer.errors import (
        AuthenticationError,
        ConfigurationError,
        IntegrityError,
        InternalError,
        JournalError,
        NotAskedError,
        NotFoundError,
        Origin,
        Problem,
        ProtocolViolation,
        RateLimitedError,
        RefusedError,
        RegistryDownError,
        RegistryError,
        SyncError,
        TransportError,
        UnavailableError,
        WorkerError,
    )
    from image_syncer.layout.locations import open_places
    from image_syncer.layout.tar_index import ArchiveError
    from image_syncer.oci.conversion import ManifestFormat
    from image_syncer.oci.platform import PlatformFilter
    from image_syncer.oci.reference import is_place
    from image_syncer.registry.tokens import Credential
    from image_syncer.reporting.plan_file import PlanFile, load_plan
    from image_syncer.reporting.recorded_report import RecordedReport, load_report
    from image_syncer.telemetry.events import (
        Event,
        ImageEnded,
        ProgressMade,
        RegistryBack,
        RegistryDown,
        RegistryGivenUp,
        RunEnded,
        TransferEnded,
        Warned,
    )
    from image_syncer.telemetry.logs import configure_logging
    from image_syncer.telemetry.outcome import Difference, ImageResult, Outcome
    from image_syncer.telemetry.progress import RegistryRow, Snapshot, TransferRow, WorkerRow
    from image_syncer.telemetry.report import Deletion, Held, Pruned, Report, Totals, TransferRecord

    __version__: str

__all__ = [
    "ArchiveError",
    "AsyncRun",
    "AuthenticationError",
    "Configuration",
    "ConfigurationError",
    "Credential",
    "CredentialError",
    "Deletion",
    "Difference",
    "Event",
    "ForeignLayers",
    "Held",
    "ImageEnded",
    "ImageResult",
    "IntegrityError",
    "InternalError",
    "JournalError",
    "ManifestFormat",
    "MissingPlatform",
    "NameLists",
    "NamePattern",
    "NotAskedError",
    "NotFoundError",
    "OnConflict",
    "OnRefusal",
    "Only",
    "Origin",
    "Outcome",
    "PlanFile",
    "PlatformFilter",
    "Policy",
    "PolicyCommand",
    "PolicyError",
    "Problem",
    "ProgressMade",
    "ProtocolViolation",
    "Pruned",
    "Pruning",
    "RateLimitedError",
    "RateSchedule",
    "RecordedReport",
    "ReferrerSelection",
    "RefusedError",
    "RegistryBack",
    "RegistryBook",
    "RegistryDown",
    "RegistryDownError",
    "RegistryEntry",
    "RegistryError",
    "RegistryGivenUp",
    "RegistryRow",
    "Report",
    "Rule",
    "RunControl",
    "RunEnded",
    "Settings",
    "Snapshot",
    "SyncError",
    "Totals",
    "TransferEnded",
    "TransferRecord",
    "TransferRow",
    "TransportError",
    "UnavailableError",
    "Warned",
    "WorkerError",
    "WorkerRow",
    "__version__",
    "configure_logging",
    "is_place",
    "load_configuration",
    "load_plan",
    "load_registries",
    "load_report",
    "make_configuration",
    "open_places",
    "parse_name_pattern",
    "parse_on_conflict",
    "parse_referrer_selection",
    "parse_share",
    "plan",
    "plan_async",
    "prepare_workers",
    "prune",
    "prune_async",
    "rule_from_arguments",
    "sync",
    "sync_async",
    "verify",
    "verify_async",
]

_MODULES = {
    "api": "plan prune sync verify",
    "async_runs": "AsyncRun plan_async prune_async sync_async verify_async",
    "config.conflicts": "OnConflict parse_on_conflict",
    "config.loader": "load_configuration load_registries",
    "config.making": "make_configuration",
    "config.model": "Configuration Only Rule",
    "config.policy": "NameLists NamePattern OnRefusal Policy PolicyCommand parse_name_pattern",
    "config.pruning": "Pruning parse_share",
    "config.rate_schedule": "RateSchedule",
    "config.referrers": "ReferrerSelection parse_referrer_selection",
    "config.registry_book": "RegistryBook RegistryEntry",
    "config.rules": "rule_from_arguments",
    "config.settings": "ForeignLayers MissingPlatform Settings",
    "control.run_control": "RunControl",
    "coordinator.policy": "PolicyError",
    "credentials.found": "CredentialError",
    "dispatch.worker_processes": "prepare_workers",
    "layout.locations": "open_places",
    "layout.tar_index": "ArchiveError",
    "oci.conversion": "ManifestFormat",
    "oci.platform": "PlatformFilter",
    "oci.reference": "is_place",
    "registry.tokens": "Credential",
    "reporting.plan_file": "PlanFile load_plan",
    "reporting.recorded_report": "RecordedReport load_report",
    "telemetry.events": (
        "Event ImageEnded ProgressMade RegistryBack RegistryDown RegistryGivenUp RunEnded TransferEnded Warned"
    ),
    "telemetry.logs": "configure_logging",
    "telemetry.outcome": "Difference ImageResult Outcome",
    "telemetry.progress": "RegistryRow Snapshot TransferRow WorkerRow",
    "telemetry.report": "Deletion Held Pruned Report Totals TransferRecord",
}
"""Where each name of `__all__` is defined; the errors are in `errors`."""
_MOVED = {
    "bench.bench_file": "BenchFile HostLimits HostRate load_bench save_bench",
    "bench.loopback": "bench_host",
    "bench.path": "bench_plan",
    "bench.prediction": "Foresight",
    "bench.sides": "PathSide delete_written",
    "capacity.estimate": (
        "Budget BudgetAnswer Estimate Question WhatIf answer_budget best_settings divided estimate parse_budget "
        "parse_host parse_link what_if"
    ),
    "capacity.forecast": "Forecast Foreseen Host",
    "capacity.measured": "MeasuredPath",
    "cluster.connection": "ClusterAddress parse_cluster_address",
    "cluster.run": "check_cluster_run sync_on_cluster",
    "config.converters.conversion": "Conversion FileFormat convert_files",
    "config.converters.draft": "ConversionOptions",
    "config.explanation": "Explanation Reason Verdict",
    "config.making": (
        "CloudData CreatedData CreationData NameListsData PolicyData ProfileData RateWindowData ReferrersData "
        "RegistryData RuleData TagsData"
    ),
    "config.schema": "describe_key schema_path schema_text",
    "control.client": "ControlClient read_snapshot snapshot_data snapshot_from_data",
    "control.paths": "control_socket_of control_sockets default_control_socket",
    "coordinator.single_requests": "check_login explain settings_in_force",
    "credentials.login": "ErasedLogin KeptLogin LoginPlace erase_login parse_login_place store_login",
    "doctor.checks": "Check CheckState",
    "doctor.examination": "Examination examine",
    "journal.status": "JournalStatus load_status",
    "layout.bundles": "CheckedBundle Export Target check_bundles export_bundle import_bundle parse_target",
    "nonblocking_write": "write_line",
    "pruning.pruner": "load_prune_plan",
    "reporting.chosen_work": "PlannedWork Unfinished find_unfinished planned_work",
    "reporting.plan_account": "PlanAccount account_for workload_of",
    "reporting.report_comparison": "Change ComparedFact EstimateFile ReportComparison compare_reports load_estimate",
    "reporting.result_files": "ImageList JUnitWriter append_markdown markdown_summary",
    "reporting.run_account": "FailureGroup FailureGroups PairShare RunAccount Savings account_of_run",
    "reporting.timeline": "Bar Curve RunCurves Timeline Track WorkerLane limit_tracks merge_bars slow_side",
    "telemetry.http_server": "parse_listen",
    "telemetry.looking_on": "look_on",
    "telemetry.partial_file": "PartialFile",
    "watch.orders": "WatchOrder WatchSettings WatchView",
    "watch.schedule": "local_zone parse_schedule",
    "watch.watcher": "run_watch tell_webhooks",
    "watch.webhooks": "NotifyWhen Webhook parse_webhook parse_webhook_file",
}
"""Public names of other modules, which were names of this one: they are still found here, with a warning."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    import importlib

    if name == "__version__":
        from importlib import metadata

        try:
            value: object = metadata.version("image-syncer")
        except metadata.PackageNotFoundError:
            value = "unknown (not installed)"
    elif name in __all__:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    elif module := next((module for module, names in _MOVED.items() if name in names.split()), None):
        import warnings

        home = f"{__name__}.{module}"
        warnings.warn(f"{__name__}.{name} is deprecated: import it from {home}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(home), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
