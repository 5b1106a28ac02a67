"""Webhooks are told with few tries, and nothing waits for them."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvloop

from image_syncer.watch import webhooks
from image_syncer.watch.webhooks import MOST_WAITING, TRIES, Webhook, WebhookPoster
from support.watch_world import serve_hook


def post(*webhooks: Webhook, bodies: int = 1) -> WebhookPoster:
    async def run() -> WebhookPoster:
        poster = WebhookPoster(webhooks, pause_s=0.01)
        for number in range(bodies):
            poster.post(json.dumps({"number": number}).encode())
        await poster.close()
        return poster

    return uvloop.run(run()) if hasattr(uvloop, "run") else asyncio.run(run())


def test_each_is_told_everything_in_order() -> None:
    with serve_hook() as one, serve_hook() as two:
        poster = post(Webhook(f"{one.url}/a", (("X-Of", "mine"),)), Webhook(f"{two.url}/b"), bodies=3)
        assert [told["number"] for told in one.told] == [told["number"] for told in two.told] == [0, 1, 2]
        assert one.fields[0]["content-type"] == "application/json"
        assert one.fields[0]["x-of"] == "mine"
        assert "x-of" not in two.fields[0]
    assert (poster.posted, poster.lost) == (6, 0)


@pytest.mark.parametrize(("status", "tries"), [(500, TRIES), (429, TRIES), (404, 1), (301, 1)])
def test_only_what_may_go_well_later_is_tried_again(status, tries) -> None:
    with serve_hook() as hook:
        hook.status = status
        poster = post(Webhook(hook.url))
        assert len(hook.told) == tries
    assert (poster.posted, poster.lost) == (0, 1)


def test_one_that_is_not_there_keeps_no_other_from_being_told() -> None:
    with serve_hook() as gone:
        nobody = gone.url
    with serve_hook() as hook:
        poster = post(Webhook(nobody), Webhook(hook.url))
        assert len(hook.told) == 1
    assert (poster.posted, poster.lost) == (1, 1)


def test_summaries_that_nobody_takes_do_not_pile_up(monkeypatch) -> None:
    monkeypatch.setattr(webhooks, "END_S", 0.1)
    with serve_hook() as gone:
        nobody = gone.url
    poster = post(Webhook(nobody), bodies=MOST_WAITING + 5)
    assert poster.lost >= 5


def test_without_webhooks_nothing_is_done() -> None:
    assert post().posted == 0
