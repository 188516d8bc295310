from __future__ import annotations

import socket
import ssl
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from ehlo.inbox import certificate
from ehlo.inbox.certificate import own_certificate, state_folder

if TYPE_CHECKING:
    from pathlib import Path


def names(path: Path) -> list[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    return [str(name.value) for name in found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


def test_it_is_made_once_for_all_names_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    first = own_certificate(folder)
    assert {"localhost", "127.0.0.1", "::1"} <= set(names(first.chain))
    content = first.chain.read_bytes()
    assert own_certificate(folder).chain.read_bytes() == content


def test_another_name_or_a_damaged_file_makes_a_new_one(tmp_path: Path) -> None:
    first = own_certificate(tmp_path).chain.read_bytes()
    found = own_certificate(tmp_path, hosts=["mail.test", "192.0.2.1"])
    assert {"mail.test", "192.0.2.1"} <= set(names(found.chain))
    assert found.chain.read_bytes() != first
    for path in (found.chain, found.authority):
        path.write_text("damaged")
        own_certificate(tmp_path).context()


def test_one_that_is_about_to_expire_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = own_certificate(tmp_path).chain.read_bytes()
    monkeypatch.setattr(certificate, "RENEW_DAYS", certificate.DAYS + 1)
    assert own_certificate(tmp_path).chain.read_bytes() != first


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_key_is_its_owners_and_the_authoritys_is_nowhere(tmp_path: Path) -> None:
    found = own_certificate(tmp_path)
    assert found.chain.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["authority.pem", "server.pem"]
    assert b"PRIVATE KEY" not in found.authority.read_bytes()
    assert found.chain.read_bytes().count(b"PRIVATE KEY-----") == 2


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_who_trusts_the_authority_trusts_the_server(tmp_path: Path, name: str) -> None:
    found = own_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=found.authority)
    server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = found.context().wrap_bio(server_in, server_out, server_side=True)
    client = trusting.wrap_bio(server_out, server_in, server_hostname=name)
    for _ in range(5):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"


def test_how_to_trust_it_names_the_file(tmp_path: Path) -> None:
    found = own_certificate(tmp_path)
    assert str(found.authority) in found.how_to_trust()


def test_a_host_whose_name_is_none_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "bad name_\u00fc")
    found = names(own_certificate(tmp_path).chain)
    assert sorted(found) == ["127.0.0.1", "::1", "localhost"]


@pytest.mark.parametrize(
    ("platform", "variable", "end"),
    [
        ("linux", "XDG_STATE_HOME", ("ehlo",)),
        ("win32", "LOCALAPPDATA", ("ehlo",)),
        ("darwin", None, ("Application Support", "ehlo")),
    ],
)
def test_the_folder_is_where_the_system_has_such_things(
    platform: str, variable: str | None, end: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    if variable is not None:
        monkeypatch.setenv(variable, str(tmp_path))
        assert state_folder().parent == tmp_path
    assert state_folder().parts[-len(end) :] == end
