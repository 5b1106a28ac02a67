"""image-syncer: copies container images between registries by streaming, through bounded memory only.

    from image_syncer import Settings, load_configuration, sync

    configuration = load_configuration(auth="auth.yaml", images="images.yaml", environ=os.environ)
    report = sync(configuration, Settings(report_path="report.json"))
    print(report.summary_line())

In a running event loop: `report = await sync_async(configuration, settings)`, or with its events.

Public are the names of `__all__` here, and those of `__all__` in `image_syncer.embedded` (a registry for
tests and demos), `image_syncer.units` (sizes, rates, durations) and `image_syncer.errors`. The rest may change.
docs/api.md says what can be relied on.

Names are resolved when they are first used (PEP 562), so that a worker process loads only its own rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.api import plan, prune, sync, verify
    from image_syncer.api.sync_async import plan_async, prune_async, sync_async, verify_async
    from image_syncer.bench import (
        BenchFile,
        Foresight,
        HostLimits,
        HostRate,
        PathSide,
        bench_host,
        bench_plan,
        delete_written,
        load_bench,
        save_bench,
    )
    from image_syncer.cluster import ClusterAddress, check_cluster_run, parse_cluster_address, sync_on_cluster
    from image_syncer.config import (
        Configuration,
        ForeignLayers,
        MissingPlatform,
        OnConflict,
        Only,
        RateSchedule,
        ReferrerSelection,
        RegistryBook,
        RegistryEntry,
        Rule,
        Settings,
        parse_on_conflict,
        parse_referrer_selection,
    )
    from image_syncer.config.arguments import rule_from_arguments
    from image_syncer.config.conversion import Conversion, convert_files
    from image_syncer.config.converters import ConversionOptions, FileFormat
    from image_syncer.config.data import (
        CloudData,
        CreatedData,
        CreationData,
        NameListsData,
        PolicyData,
        ProfileData,
        RateWindowData,
        ReferrersData,
        RegistryData,
        RuleData,
        TagsData,
    )
    from image_syncer.config.explanation import Explanation, Verdict
    from image_syncer.config.loader import load_configuration, load_registries
    from image_syncer.config.making import make_configuration
    from image_syncer.config.policy import NameLists, NamePattern, OnRefusal, Policy, PolicyCommand, parse_name_pattern
    from image_syncer.config.pruning import Pruning, parse_share
    from image_syncer.config.reason import Reason
    from image_syncer.config.schema import describe_key, schema_path, schema_text
    from image_syncer.coordinator.async_run import AsyncRun
    from image_syncer.coordinator.control import RunControl
    from image_syncer.coordinator.control_client import ControlClient, read_snapshot
    from image_syncer.coordinator.control_paths import control_socket_of, control_sockets, default_control_socket
    from image_syncer.coordinator.explain import explain
    from image_syncer.coordinator.in_force import settings_in_force
    from image_syncer.coordinator.login_check import check_login
    from image_syncer.coordinator.policy_command import PolicyError
    from image_syncer.coordinator.prune_plan import load_prune_plan
    from image_syncer.coordinator.worker_processes import prepare_workers
    from image_syncer.credentials import CredentialError
    from image_syncer.credentials.login import (
        ErasedLogin,
        KeptLogin,
        LoginPlace,
        erase_login,
        parse_login_place,
        store_login,
    )
    from image_syncer.doctor import Check, CheckState, Examination, examine
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
    from image_syncer.journal.status import JournalStatus, load_status
    from image_syncer.layout import open_places
    from image_syncer.layout.export import Export, export_bundle
    from image_syncer.layout.importing import CheckedBundle, Target, check_bundles, import_bundle, parse_target
    from image_syncer.layout.tar_parts import ArchiveError
    from image_syncer.nonblocking_write import write_line
    from image_syncer.oci import ManifestFormat, PlatformFilter, is_place
    from image_syncer.planning.budget import Budget, BudgetAnswer, answer_budget, parse_budget
    from image_syncer.planning.estimate import Estimate, Question, estimate, parse_host, parse_link
    from image_syncer.planning.forecast import Forecast, Host
    from image_syncer.planning.foreseen import Foreseen
    from image_syncer.planning.measured import MeasuredPath
    from image_syncer.planning.what_if import WhatIf, best_settings, divided, what_if
    from image_syncer.registry import Credential
    from image_syncer.telemetry import (
        Difference,
        ImageResult,
        Outcome,
        PartialFile,
        RegistryRow,
        Report,
        Snapshot,
        Totals,
        TransferRecord,
        TransferRow,
        WorkerRow,
        configure_logging,
    )
    from image_syncer.telemetry.estimate_file import EstimateFile, load_estimate
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
    from image_syncer.telemetry.failure_groups import FailureGroup, FailureGroups
    from image_syncer.telemetry.image_list import ImageList
    from image_syncer.telemetry.junit import JUnitWriter
    from image_syncer.telemetry.listening import parse_listen
    from image_syncer.telemetry.looking_on import look_on
    from image_syncer.telemetry.markdown_summary import append_markdown, markdown_summary
    from image_syncer.telemetry.plan_account import PlanAccount, account_for, workload_of
    from image_syncer.telemetry.plan_file import PlanFile, load_plan
    from image_syncer.telemetry.planned_work import PlannedWork, planned_work
    from image_syncer.telemetry.pruned import Deletion, Held, Pruned
    from image_syncer.telemetry.recorded_report import RecordedReport, load_report
    from image_syncer.telemetry.report_comparison import Change, ComparedFact, ReportComparison, compare_reports
    from image_syncer.telemetry.run_account import PairShare, RunAccount, Savings, account_of_run
    from image_syncer.telemetry.run_curves import RunCurves, Track, limit_tracks
    from image_syncer.telemetry.snapshot_data import snapshot_data, snapshot_from_data
    from image_syncer.telemetry.timeline import Bar, Curve, Timeline, WorkerLane, merge_bars, slow_side
    from image_syncer.telemetry.unfinished import Unfinished, find_unfinished
    from image_syncer.watch import (
        NotifyWhen,
        WatchOrder,
        WatchSettings,
        WatchView,
        Webhook,
        local_zone,
        parse_schedule,
        parse_webhook,
        parse_webhook_file,
        run_watch,
        tell_webhooks,
    )

__all__ = [
    "ArchiveError",
    "AsyncRun",
    "AuthenticationError",
    "Bar",
    "BenchFile",
    "Budget",
    "BudgetAnswer",
    "Change",
    "Check",
    "CheckState",
    "CheckedBundle",
    "CloudData",
    "ClusterAddress",
    "ComparedFact",
    "Configuration",
    "ConfigurationError",
    "ControlClient",
    "Conversion",
    "ConversionOptions",
    "CreatedData",
    "CreationData",
    "Credential",
    "CredentialError",
    "Curve",
    "Deletion",
    "Difference",
    "ErasedLogin",
    "Estimate",
    "EstimateFile",
    "Event",
    "Examination",
    "Explanation",
    "Export",
    "FailureGroup",
    "FailureGroups",
    "FileFormat",
    "Forecast",
    "ForeignLayers",
    "Foreseen",
    "Foresight",
    "Held",
    "Host",
    "HostLimits",
    "HostRate",
    "ImageEnded",
    "ImageList",
    "ImageResult",
    "IntegrityError",
    "InternalError",
    "JUnitWriter",
    "JournalError",
    "JournalStatus",
    "KeptLogin",
    "LoginPlace",
    "ManifestFormat",
    "MeasuredPath",
    "MissingPlatform",
    "NameLists",
    "NameListsData",
    "NamePattern",
    "NotAskedError",
    "NotFoundError",
    "NotifyWhen",
    "OnConflict",
    "OnRefusal",
    "Only",
    "Origin",
    "Outcome",
    "PairShare",
    "PartialFile",
    "PathSide",
    "PlanAccount",
    "PlanFile",
    "PlannedWork",
    "PlatformFilter",
    "Policy",
    "PolicyCommand",
    "PolicyData",
    "PolicyError",
    "Problem",
    "ProfileData",
    "ProgressMade",
    "ProtocolViolation",
    "Pruned",
    "Pruning",
    "Question",
    "RateLimitedError",
    "RateSchedule",
    "RateWindowData",
    "Reason",
    "RecordedReport",
    "ReferrerSelection",
    "ReferrersData",
    "RefusedError",
    "RegistryBack",
    "RegistryBook",
    "RegistryData",
    "RegistryDown",
    "RegistryDownError",
    "RegistryEntry",
    "RegistryError",
    "RegistryGivenUp",
    "RegistryRow",
    "Report",
    "ReportComparison",
    "Rule",
    "RuleData",
    "RunAccount",
    "RunControl",
    "RunCurves",
    "RunEnded",
    "Savings",
    "Settings",
    "Snapshot",
    "SyncError",
    "TagsData",
    "Target",
    "Timeline",
    "Totals",
    "Track",
    "TransferEnded",
    "TransferRecord",
    "TransferRow",
    "TransportError",
    "UnavailableError",
    "Unfinished",
    "Verdict",
    "Warned",
    "WatchOrder",
    "WatchSettings",
    "WatchView",
    "Webhook",
    "WhatIf",
    "WorkerError",
    "WorkerLane",
    "WorkerRow",
    "__version__",
    "account_for",
    "account_of_run",
    "answer_budget",
    "append_markdown",
    "bench_host",
    "bench_plan",
    "best_settings",
    "check_bundles",
    "check_cluster_run",
    "check_login",
    "compare_reports",
    "configure_logging",
    "control_socket_of",
    "control_sockets",
    "convert_files",
    "default_control_socket",
    "delete_written",
    "describe_key",
    "divided",
    "erase_login",
    "estimate",
    "examine",
    "explain",
    "export_bundle",
    "find_unfinished",
    "import_bundle",
    "is_place",
    "limit_tracks",
    "load_bench",
    "load_configuration",
    "load_estimate",
    "load_plan",
    "load_prune_plan",
    "load_registries",
    "load_report",
    "load_status",
    "local_zone",
    "look_on",
    "make_configuration",
    "markdown_summary",
    "merge_bars",
    "open_places",
    "parse_budget",
    "parse_cluster_address",
    "parse_host",
    "parse_link",
    "parse_listen",
    "parse_login_place",
    "parse_name_pattern",
    "parse_on_conflict",
    "parse_referrer_selection",
    "parse_schedule",
    "parse_share",
    "parse_target",
    "parse_webhook",
    "parse_webhook_file",
    "plan",
    "plan_async",
    "planned_work",
    "prepare_workers",
    "prune",
    "prune_async",
    "read_snapshot",
    "rule_from_arguments",
    "run_watch",
    "save_bench",
    "schema_path",
    "schema_text",
    "settings_in_force",
    "slow_side",
    "snapshot_data",
    "snapshot_from_data",
    "store_login",
    "sync",
    "sync_async",
    "sync_on_cluster",
    "tell_webhooks",
    "verify",
    "verify_async",
    "what_if",
    "workload_of",
    "write_line",
]

_ROOMS = {
    "telemetry.events": (
        "Event",
        "ImageEnded",
        "ProgressMade",
        "RegistryBack",
        "RegistryDown",
        "RegistryGivenUp",
        "RunEnded",
        "TransferEnded",
        "Warned",
    ),
    "coordinator.async_run": ("AsyncRun",),
    "api.sync_async": ("plan_async", "prune_async", "sync_async", "verify_async"),
    "cluster": ("ClusterAddress", "check_cluster_run", "parse_cluster_address", "sync_on_cluster"),
    "config": (
        "Configuration",
        "ForeignLayers",
        "MissingPlatform",
        "OnConflict",
        "Only",
        "RateSchedule",
        "ReferrerSelection",
        "RegistryBook",
        "RegistryEntry",
        "Rule",
        "Settings",
        "parse_on_conflict",
        "parse_referrer_selection",
    ),
    "config.explanation": (
        "Explanation",
        "Verdict",
    ),
    "config.policy": (
        "NameLists",
        "NamePattern",
        "OnRefusal",
        "Policy",
        "PolicyCommand",
        "parse_name_pattern",
    ),
    "config.pruning": (
        "Pruning",
        "parse_share",
    ),
    "config.reason": ("Reason",),
    "config.loader": (
        "load_configuration",
        "load_registries",
    ),
    "config.arguments": ("rule_from_arguments",),
    "config.conversion": ("Conversion", "convert_files"),
    "config.converters": ("ConversionOptions", "FileFormat"),
    "config.data": (
        "CloudData",
        "CreatedData",
        "CreationData",
        "NameListsData",
        "PolicyData",
        "ProfileData",
        "RateWindowData",
        "ReferrersData",
        "RegistryData",
        "RuleData",
        "TagsData",
    ),
    "config.making": ("make_configuration",),
    "config.schema": ("describe_key", "schema_path", "schema_text"),
    "api": ("plan", "prune", "sync", "verify"),
    "coordinator.control": ("RunControl",),
    "coordinator.control_client": ("ControlClient", "read_snapshot"),
    "coordinator.control_paths": ("control_socket_of", "control_sockets", "default_control_socket"),
    "coordinator.explain": ("explain",),
    "coordinator.in_force": ("settings_in_force",),
    "coordinator.login_check": ("check_login",),
    "coordinator.policy_command": ("PolicyError",),
    "coordinator.prune_plan": ("load_prune_plan",),
    "coordinator.worker_processes": ("prepare_workers",),
    "credentials": ("CredentialError",),
    "credentials.login": (
        "ErasedLogin",
        "KeptLogin",
        "LoginPlace",
        "erase_login",
        "parse_login_place",
        "store_login",
    ),
    "registry": ("Credential",),
    "journal.status": ("JournalStatus", "load_status"),
    "layout": ("open_places",),
    "layout.tar_parts": ("ArchiveError",),
    "layout.export": ("Export", "export_bundle"),
    "layout.importing": ("CheckedBundle", "Target", "check_bundles", "import_bundle", "parse_target"),
    "doctor": ("Check", "CheckState", "Examination", "examine"),
    "oci": ("ManifestFormat", "PlatformFilter", "is_place"),
    "telemetry": (
        "Difference",
        "ImageResult",
        "Outcome",
        "PartialFile",
        "Report",
        "RegistryRow",
        "Snapshot",
        "Totals",
        "TransferRecord",
        "TransferRow",
        "WorkerRow",
        "configure_logging",
    ),
    "telemetry.pruned": (
        "Deletion",
        "Held",
        "Pruned",
    ),
    "telemetry.image_list": ("ImageList",),
    "bench": (
        "BenchFile",
        "Foresight",
        "HostLimits",
        "HostRate",
        "PathSide",
        "bench_host",
        "bench_plan",
        "delete_written",
        "load_bench",
        "save_bench",
    ),
    "planning.budget": ("Budget", "BudgetAnswer", "answer_budget", "parse_budget"),
    "planning.estimate": ("Estimate", "Question", "estimate", "parse_host", "parse_link"),
    "planning.what_if": ("WhatIf", "best_settings", "divided", "what_if"),
    "planning.foreseen": ("Foreseen",),
    "planning.forecast": ("Forecast", "Host"),
    "planning.measured": ("MeasuredPath",),
    "telemetry.plan_account": ("PlanAccount", "account_for", "workload_of"),
    "telemetry.plan_file": ("PlanFile", "load_plan"),
    "telemetry.listening": ("parse_listen",),
    "telemetry.looking_on": ("look_on",),
    "nonblocking_write": ("write_line",),
    "telemetry.planned_work": ("PlannedWork", "planned_work"),
    "telemetry.recorded_report": ("RecordedReport", "load_report"),
    "telemetry.failure_groups": (
        "FailureGroup",
        "FailureGroups",
    ),
    "telemetry.run_account": (
        "PairShare",
        "RunAccount",
        "Savings",
        "account_of_run",
    ),
    "telemetry.run_curves": (
        "RunCurves",
        "Track",
        "limit_tracks",
    ),
    "telemetry.junit": ("JUnitWriter",),
    "telemetry.markdown_summary": (
        "append_markdown",
        "markdown_summary",
    ),
    "telemetry.report_comparison": (
        "Change",
        "ComparedFact",
        "ReportComparison",
        "compare_reports",
    ),
    "telemetry.estimate_file": (
        "EstimateFile",
        "load_estimate",
    ),
    "telemetry.unfinished": ("Unfinished", "find_unfinished"),
    "watch": (
        "NotifyWhen",
        "WatchOrder",
        "WatchSettings",
        "WatchView",
        "Webhook",
        "local_zone",
        "parse_schedule",
        "parse_webhook",
        "parse_webhook_file",
        "run_watch",
        "tell_webhooks",
    ),
    "telemetry.snapshot_data": ("snapshot_data", "snapshot_from_data"),
    "telemetry.timeline": ("Bar", "Curve", "Timeline", "WorkerLane", "merge_bars", "slow_side"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__version__: str


def __getattr__(name: str) -> object:
    import importlib

    if name == "__version__":
        from importlib import metadata

        try:
            value: object = metadata.version("image-syncer")
        except metadata.PackageNotFoundError:
            value = "unknown (not installed)"
    elif name in __all__:
        room = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        value = getattr(room, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
