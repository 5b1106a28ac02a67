from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench.bench_file import BenchFile, save_bench
from image_syncer.bench.prediction import Foresight
from image_syncer.capacity.fit import USUAL
from image_syncer.capacity.forecast import Foreseen
from image_syncer.embedded import Behaviour, ContentBuilder, MemoryStorage, push_to, serve_in_thread
from image_syncer.reporting.plan_file import ImageShape, PlanWriter
from image_syncer.telemetry import ImageResult, Outcome, Report, Snapshot, Totals

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files

RULES = """\
version: 2
rules:
- {source: quay.io/org/app, destination: reg.example/app, tags: {include: "v1.*"}}
- {source: quay.io/org/**, destination: reg.example/mirror/**, exclude: "org/app"}
- {source: quay.io/other/app, destination: reg.example/other}
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(RULES, encoding="utf-8")
    return path


def test_alone_it_is_a_dry_run(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [ImageResult("nginx:2", "reg/nginx:2", Outcome.PLANNED, destination_digest="sha256:bb")]
    ran = command("plan", *files.words)
    assert ran.code == 0
    assert engine.settings is not None
    assert engine.settings.dry_run
    assert "nginx:2" in ran.out


def test_explain(command: Command, own: Path) -> None:
    ran = command("plan", "--config", own, "--explain", "quay.io/org/app:v1.2")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"in: {own}:3: quay.io/org/app → reg.example/app:v1.2",
        "  + the source names its repository",
        "  + include: “v1.*” fits",
        f"out: {own}:4: quay.io/org/**",
        "  + the pattern “org/**” fits org/app",
        "  - exclude: “org/app” fits",
        "quay.io/org/app:v1.2 matches 1 rule; 1 rule about other repositories",
    ]


def test_an_image_that_no_rule_means(command: Command, own: Path) -> None:
    ran = command("plan", "--config", own, "--explain", "quay.io/org/app:v2")
    assert ran.code == 1
    assert ran.out.splitlines()[-1].startswith("quay.io/org/app:v2 matches no rule; 1 rule about")


def test_json(command: Command, own: Path) -> None:
    data = json.loads(command("plan", "--config", own, "--explain", "quay.io/other/app:1", "--json").out)
    assert (data["image"], data["meant"], data["other_rules"]) == ("quay.io/other/app:1", True, 1)
    out, named = sorted(data["rules"], key=lambda rule: bool(rule["meant"]))
    assert out["reasons"] == [
        {"holds": False, "text": "the pattern “org/**” does not fit other/app"},
        {"holds": True, "text": "exclude: none fits of org/app"},
    ]
    assert named["destinations"] == ["reg.example/other:1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--explain", "a.io/x:1"], "nothing to plan"),
        (["--config", "own.yaml", "--json"], "--json goes with --explain"),
        (["--config", "{own}", "--explain", "A.io/X y"], "Name one image"),
    ],
)
def test_what_it_does_not_understand(command: Command, own: Path, words: list[str], said: str) -> None:
    ran = command("plan", *(word.replace("{own}", str(own)) for word in words))
    assert ran.code == 2
    assert said in ran.err


def test_the_list_of_tags_is_asked_for_where_the_newest_decide(command: Command, tmp_path: Path) -> None:
    storage = MemoryStorage()
    push_to(storage, "app", ContentBuilder(3).image(1), ["1", "2", "3", "latest"])
    with serve_in_thread(storage, behaviour=Behaviour(max_page_size=2)) as source:
        path = tmp_path / "own.yaml"
        path.write_text(
            f"version: 2\nregistries: {{'{source.address}': {{insecure: true}}}}\n"
            f"rules:\n- {{source: '{source.address}/app', destination: reg.example/app, tags: {{newest: 2}}}}\n"
        )
        image = f"{source.address}/app"
        ran = command("plan", "--config", path, "--explain", f"{image}:latest")
        assert (ran.code, source.counters.values().count("list tags")) == (1, 0)
        ran = command("plan", "--config", path, "--explain", f"{image}:2")
        assert ran.code == 0
        assert "  + newest: the newest 2 are 2, 3" in ran.out.splitlines()
        assert source.counters.values().count("list tags") == 2
        assert command("plan", "--config", path, "--explain", f"{image}:1").code == 1


def test_when_images_were_created_is_asked_for_where_it_decides(command: Command, tmp_path: Path) -> None:
    storage, content = MemoryStorage(), ContentBuilder(3)
    for year in ("2021", "2022", "2023"):
        push_to(storage, "app", content.image(1, created=f"{year}-01-01T00:00:00Z"), [f"t{year}"])
    with serve_in_thread(storage) as source:
        path = tmp_path / "own.yaml"
        path.write_text(
            f"version: 2\nregistries: {{'{source.address}': {{insecure: true}}}}\nrules:\n"
            f"- {{source: '{source.address}/app', destination: reg.example/app, tags: {{created: {{newest: 2}}}}}}\n"
        )
        image = f"{source.address}/app"
        assert command("plan", "--config", path, "--explain", f"{image}:t2021").code == 1
        ran = command("plan", "--config", path, "--explain", f"{image}:t2022")
        assert ran.code == 0
        said = "its image was created 2022-01-01 00:00:00 UTC; the newest 2 are t2022, t2023"
        assert f"  + created: {said}" in ran.out.splitlines()


def test_a_plan_is_saved_summed_up_and_carried_out(command: Command, tmp_path: Path) -> None:
    content = ContentBuilder(seed=3)
    with serve_in_thread() as source, serve_in_thread() as destination:
        images = [content.image(2), content.image(3)]
        for number, image in enumerate(images):
            push_to(source.storage, f"team/app{number}", image, ["v1"])
        rules = tmp_path / "own.yaml"
        rules.write_text(
            f"version: 2\nregistries:\n  '{source.address}': {{insecure: true}}\n"
            f"  '{destination.address}': {{insecure: true}}\nrules:\n"
            f"- {{source: '{source.address}/team/app0', destination: '{destination.address}/team/app0'}}\n"
            f"- {{source: '{source.address}/team/app1', destination: '{destination.address}/team/app1'}}\n"
        )
        path = tmp_path / "plan.json"
        ran = command("plan", "--config", rules, "--save", path)
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.splitlines()
        assert lines[0].startswith("2 images: 2 would be copied")
        assert lines[1] == "Images     2: 2 would be copied"
        assert lines[3].startswith("To move    ")
        assert lines[3].endswith(" in 7 blobs")
        assert {"Largest blobs", "Sources", "Destinations"} <= set(lines)
        assert max(map(len, lines)) <= 120
        assert destination.storage.repositories() == []
        ran = command("sync", "--config", rules, "--plan", path, "--no-progress")
        assert ran.code == 0
        assert ran.out.startswith("2 images: 2 copied")
        ran = command("plan", "--config", rules, "--save", path)
        assert ran.out.splitlines()[1] == "Images     2: 2 unchanged"
        ran = command("sync", "--config", rules, "--plan", path, "--no-progress")
        assert (ran.code, ran.err) == (0, f"{path}: nothing is to be copied\n")


def test_a_run_of_a_plan_learns_how_it_was_foreseen(
    command: Command, engine: FakeEngine, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, bench = tmp_path / "plan.json", tmp_path / "bench.json"
    writer = PlanWriter(str(plan))
    writer.note_shape("a.example/app:1", "b.example/app:1", ImageShape(1, ()))
    digests = {"source_digest": f"sha256:{'a' * 64}", "destination_digest": f"sha256:{'a' * 64}"}
    writer.add(ImageResult("a.example/app:1", "b.example/app:1", Outcome.PLANNED, **digests))
    writer.close(Report({}, Totals(), "2026-01-01T00:00:00+00:00", 1.0))
    ran = command("sync", "--config", own, "--plan", plan, "--bench", bench)
    assert (ran.code, engine.settings) == (2, None)
    assert f"the bench {bench} cannot be read" in ran.err
    save_bench(BenchFile((replace(USUAL, source="a.example"),)), str(bench))
    foreseen = Foreseen(10.0, 12.0, 1, 0, 0, ((10.0, 1.0),))
    found = iter([None, foreseen])
    monkeypatch.setattr(Foresight, "take", lambda _self: next(found))
    engine.snapshots = [Snapshot(0.5), Snapshot(1.0), Snapshot(1.5)]
    assert command("sync", "--config", own, "--plan", plan, "--bench", bench, "--no-progress").code == 0
    assert engine.control is not None
    assert engine.control.foreseen is foreseen


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("plan", "--save", "x.json", "--explain", "a/b:c"), "--save goes with the whole plan"),
        (("sync", "--plan", "x.json", "--images"), "the plan has the images already"),
        (("sync", "--plan", "missing.json"), "the plan missing.json cannot be read"),
        (("sync", "--bench", "b.json"), "--bench goes with --plan"),
        (("sync", "--plan", "p.json", "--bench", "b.json", "--dry-run"), "leave out --bench"),
        (("sync", "--plan", "p.json", "--bench", "b.json", "--cluster", "tcp://127.0.0.1:1"), "leave out --bench"),
    ],
)
def test_what_does_not_go_together(
    command: Command, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    more = (own,) if words[-1] == "--images" else ("--config", own)
    ran = command(*words, *more)
    assert ran.code == 2
    assert what in ran.err
    assert not (tmp_path / "x.json").exists()
