"""`pip install django pytest ehlo`, then `pytest`: the fixture `inbox` comes with ehlo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import app  # noqa: F401 - the settings
import pytest
from django.test import Client, override_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ehlo.inbox import Inbox


@pytest.fixture
def client(inbox: Inbox) -> Iterator[Client]:
    """The application, sending its mail to this test's inbox.

    With pytest-django, set the same by its fixture `settings`, and EMAIL_BACKEND to
    "django.core.mail.backends.smtp.EmailBackend": it puts another there.
    """
    with override_settings(EMAIL_HOST=inbox.host, EMAIL_PORT=inbox.port):
        yield Client()


def test_the_link_in_the_mail_signs_in(client: Client, inbox: Inbox) -> None:
    client.post("/sign-in", {"email": "ann@example.com"})

    message = inbox.wait(to="ann@example.com", subject="Sign in")

    assert message["From"] == "Example <hello@app.example>"
    assert client.get(message.links[0]).content == b"Welcome, ann@example.com!"


def test_the_mail_says_the_same_as_text_and_as_html(client: Client, inbox: Inbox) -> None:
    client.post("/sign-in", {"email": "ann@example.com"})

    message = inbox.wait()

    (link,) = set(message.links)
    assert link in message.text
    assert f'<a href="{link}">Sign in</a>' in message.html


def test_a_link_that_was_tampered_with_signs_nobody_in(client: Client, inbox: Inbox) -> None:
    client.post("/sign-in", {"email": "ann@example.com"})

    link = inbox.wait(to="ann@example.com").links[0]

    assert client.get(f"{link}x").status_code == 403
    inbox.assert_none()
