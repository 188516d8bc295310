"""Each kind of mistake that another mail catcher had to publish an advisory for, and the tests that show it here."""

from __future__ import annotations

import asyncio
import importlib
import socket

import pytest

from ehlo.inbox.web.openapi import OPERATIONS
from tests.inbox.web.support import mail, put, serving

KINDS = {
    "server-side request forgery: checking links and HTML asks nobody": (
        "tests.inbox.test_advisories:test_nothing_that_a_mail_names_is_fetched",
    ),
    "server-side request forgery: remote content, by way of the reader's browser": (
        "tests.inbox.web.test_addresses:test_what_may_lead_inside_or_is_not_plainly_written_is_refused",
        "tests.inbox.web.test_addresses:test_an_address_that_leads_inside_is_not_public_in_any_notation",
        "tests.inbox.web.test_html:test_remote_content_is_blocked_until_it_is_allowed",
    ),
    "server-side request forgery: releasing": (
        "tests.inbox.web.test_release:test_no_other_server_is_connected_to",
        "tests.inbox.web.test_release:test_a_rule_for_any_host_is_for_public_addresses_only",
        "tests.inbox.web.test_release:test_a_name_that_leads_to_a_private_address_is_refused",
        "tests.inbox.web.test_release:test_the_connection_goes_to_the_address_that_was_looked_at",
    ),
    "server-side request forgery: a proxy for screenshots": (
        "tests.inbox.test_advisories:test_no_operation_takes_an_address_to_fetch",
    ),
    "cross-site WebSocket hijacking (CVE-2026-22689)": (
        "tests.inbox.test_security:test_there_are_no_websockets_to_hijack",
        "tests.inbox.test_security:test_a_request_of_another_origin_is_refused",
        "tests.inbox.test_security:test_another_name_for_this_machine_is_refused",
    ),
    "mail data without a limit": ("tests.inbox.test_server:test_mail_data_is_limited_and_said_to_be",),
    "command lines without a limit": ("tests.inbox.test_server:test_a_command_without_an_end_is_not_kept",),
    "path traversal in names of files": (
        "tests.inbox.web.test_names:test_no_name_leaves_its_folder_or_its_field",
        "tests.inbox.web.test_archive:test_names_links_and_devices_in_a_tar_mean_nothing",
        "tests.inbox.web.test_api:test_what_is_not_there_is_404",
    ),
    "header injection": (
        "tests.inbox.web.test_release:test_no_address_becomes_another_command",
        "tests.inbox.web.test_names:test_no_name_leaves_its_folder_or_its_field",
    ),
    "oversized images": (
        "tests.inbox.web.test_images:test_measures_decide_whether_it_is_harmless",
        "tests.inbox.web.test_html:test_whatever_the_pieces_nothing_loads_or_runs",
    ),
    "script in a mail's HTML": ("tests.inbox.web.test_html:test_whatever_the_pieces_nothing_loads_or_runs",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_tests_that_are_there(kind: str) -> None:
    for name in KINDS[kind]:
        module, _, function = name.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), name


async def test_nothing_that_a_mail_names_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening, rendering and waiting for a message full of addresses makes no connection and asks no name server."""

    async def fail(*_args: object, **_more: object) -> None:
        raise AssertionError("the network was asked")

    html = '<a href="https://a.example/"><img src="https://b.example/c.png"></a><link href="https://d.example/e.css">'
    async with serving() as web:
        id_ = await put(web, mail(html=html))
        loop_class = asyncio.get_running_loop().__class__
        for name in ("create_connection", "getaddrinfo", "sock_connect"):
            monkeypatch.setattr(loop_class, name, fail)
        monkeypatch.setattr(socket, "create_connection", fail)
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        for path in ("", "/html", "/html?remote=true", "/text"):
            assert (await web.get(f"/api/v1/messages/{id_}{path}")).status == 200
        assert (await web.get("/api/v1/wait?after=0")).json["message"]["links"]


def test_no_operation_takes_an_address_to_fetch() -> None:
    names = {parameter.name for operation in OPERATIONS for parameter in operation.parameters}
    assert not names & {"url", "uri", "src", "link", "target", "proxy"}
