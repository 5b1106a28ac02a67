from __future__ import annotations

import base64

import pytest

from image_syncer.embedded import Behaviour, TokenService
from image_syncer.embedded.call import Grants, TokenBook
from image_syncer.embedded.tokens import allowed_actions, check_basic

USERS = {"alice": "päss:word"}
GRANTS: Grants = {("repository", "a"): frozenset({"pull"})}


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_a_password_may_hold_colons_and_umlauts() -> None:
    assert check_basic(basic("alice:päss:word"), USERS) == "alice"
    assert check_basic(basic("alice:päss:word").replace("Basic", "bASIC"), USERS) == "alice"


@pytest.mark.parametrize("header", ["", "Basic", "Basic !", "Bearer abc", basic("alice"), basic("alice:"), basic(":")])
def test_what_proves_nobody(header: str) -> None:
    assert check_basic(header, USERS) is None


def test_a_token_holds_for_its_time() -> None:
    book = TokenBook()
    token = book.issue(GRANTS, "alice", TokenService(expires_in_s=10), 0)
    assert book.use(token, 9.9) == (GRANTS, "alice")
    assert book.use(token, 10) is None
    assert book.use("other", 0) is None


def test_a_token_holds_for_its_uses() -> None:
    book = TokenBook()
    token = book.issue(GRANTS, None, TokenService(max_uses=1), 0)
    assert book.use(token, 0) == (GRANTS, None)
    assert book.use(token, 0) is None


def test_tokens_that_are_revoked() -> None:
    book = TokenBook()
    token = book.issue(GRANTS, None, TokenService(), 0)
    book.revoke_all()
    assert book.use(token, 0) is None


def test_old_tokens_are_forgotten() -> None:
    book = TokenBook()
    for now_s in range(100):
        book.issue(GRANTS, None, TokenService(expires_in_s=5), now_s)
    assert len(book._issued) == 5


def test_what_a_user_may() -> None:
    behaviour = Behaviour(users=USERS, permissions={"reader": ("pull",)}, anonymous=("pull",))
    assert "delete" in allowed_actions(behaviour, "alice")
    assert allowed_actions(behaviour, "reader") == {"pull"}
    assert allowed_actions(behaviour, None) == {"pull"}
    assert "push" in allowed_actions(Behaviour(), None)
