"""`pip install fastapi httpx pytest ehlo`, then `pytest`: the fixture `inbox` comes with ehlo."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from app import app
from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from ehlo.inbox import Inbox


@pytest.fixture
def client(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The application, sending its mail to this test's inbox."""
    monkeypatch.setenv("SMTP_URL", inbox.smtp_url)
    return TestClient(app)


def test_the_code_in_the_mail_signs_in(client: TestClient, inbox: Inbox) -> None:
    client.post("/sign-in", json={"email": "ann@example.com"})

    message = inbox.wait(to="ann@example.com", subject=re.compile("code", re.IGNORECASE))

    answer = client.post("/code", json={"email": "ann@example.com", "code": message.codes[0]})
    assert answer.json() == "Welcome, ann@example.com!"


def test_a_code_is_good_once(client: TestClient, inbox: Inbox) -> None:
    client.post("/sign-in", json={"email": "ann@example.com"})
    given = {"email": "ann@example.com", "code": inbox.wait().codes[0]}

    assert [client.post("/code", json=given).status_code for _ in range(2)] == [200, 403]


def test_each_of_two_gets_a_mail_of_their_own(client: TestClient, inbox: Inbox) -> None:
    for address in ("ann@example.com", "bob@example.com"):
        client.post("/sign-in", json={"email": address})

    for address in ("bob@example.com", "ann@example.com"):  # in whatever order
        assert inbox.wait(to=address).envelope.rcpt_tos == (address,)
    inbox.assert_none()
