from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.records import Summary
from ehlo.inbox.web import archive
from ehlo.inbox.web.archive import Found, TooBig, Unreadable, arrival, from_mbox, from_tar, to_maildir, to_mbox
from tests.inbox.web.support import mail

if TYPE_CHECKING:
    from collections.abc import Iterable


def summary(id_: int = 1, *, mail_from: str = "from@example.com", is_read: bool = False, size: int = 0) -> Summary:
    return Summary(
        id=id_,
        inbox="default",
        received_at=1000.0,
        size=size,
        mail_from=mail_from,
        rcpt_tos=(),
        header_from="",
        header_to="",
        subject="",
        message_id="",
        snippet="",
        attachments=0,
        has_html=False,
        is_read=is_read,
        is_indexed=True,
        tags=(),
        session_id="",
    )


def mbox(*raws: bytes) -> bytes:
    return b"".join(to_mbox((summary(), iter([raw])) for raw in raws))


def unmbox(data: bytes, limit: int | None = None) -> list[Found]:
    return list(from_mbox(io.BytesIO(data), limit))


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    file.seek(0)
    return file


def test_an_mbox_has_an_envelope_line_and_lf() -> None:
    assert mbox(b"Subject: a\r\n\r\nb\r\n") == b"From from@example.com Thu Jan  1 00:16:40 1970\nSubject: a\n\nb\n\n"


def test_the_envelope_line_holds_one_word_whatever_the_sender() -> None:
    assert b"".join(to_mbox([(summary(mail_from="a b\r\nc"), iter([b""]))])).startswith(b"From a_b__c Thu")
    assert b"".join(to_mbox([(summary(mail_from=""), iter([b""]))])).startswith(b"From MAILER-DAEMON Thu")


def test_lines_that_look_like_an_envelope_are_quoted_and_come_back() -> None:
    raw = b"Subject: a\r\n\r\nFrom here\r\n>From there\r\n\r\nFrom x@y Thu\r\n"
    assert b"\n>From here\n>>From there\n" in mbox(raw)
    assert [found.raw for found in unmbox(mbox(raw, raw))] == [raw, raw]


def test_an_mbox_tells_sender_and_time() -> None:
    (found,) = unmbox(mbox(b"a: b\r\n\r\n"))
    assert (found.sender, found.time) == ("from@example.com", 1000.0)
    (found,) = unmbox(b"From MAILER-DAEMON whenever\na: b\n\n")
    assert (found.sender, found.time) == ("", None)


LINES = st.lists(st.sampled_from([b"From x", b">From x", b"", b"a", b".", b">>From "]), min_size=1, max_size=12)


@given(st.lists(LINES, max_size=4))
def test_messages_survive_an_mbox(messages: list[list[bytes]]) -> None:
    raws = [b"".join(line + b"\r\n" for line in lines) for lines in messages]
    assert [found.raw for found in unmbox(mbox(*raws))] == raws


@given(LINES, st.lists(st.integers(0, 80), max_size=6))
def test_where_a_message_is_cut_makes_no_difference(lines: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(line + b"\r\n" for line in lines)
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:end] for start, end in itertools.pairwise(places)]
    (found,) = unmbox(b"".join(to_mbox([(summary(), iter(pieces))])))
    assert found.raw == raw


def test_many_short_lines_are_not_kept_one_by_one() -> None:
    data = b"From a@b\n" + b"ab\n" * 100_000
    tracemalloc.start()
    try:
        (found,) = unmbox(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.raw) == 400_000
    assert peak < 8 * len(found.raw)


def test_a_line_longer_than_a_piece_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"a: b\r\n\r\nab\r\n>From x\r\nabc>From y\r\n\r\nFro\r\n"
    data = b"From a@b\n" + raw.replace(b"\r\n", b"\n") + b"\n"
    monkeypatch.setattr(archive, "LINE_PIECE", 9)
    assert [found.raw for found in unmbox(data)] == [raw.replace(b"\n>From", b"\nFrom")]


@given(st.binary(max_size=300))
def test_any_octets_are_an_mbox_or_not(data: bytes) -> None:
    try:
        unmbox(data)
    except Unreadable:
        assert not data.startswith(b"From ")


def test_what_does_not_begin_like_an_mbox_is_none() -> None:
    with pytest.raises(Unreadable):
        unmbox(b"Subject: a\n\nb\n")
    assert unmbox(b"") == []


def test_a_message_in_an_mbox_may_be_too_big() -> None:
    assert len(unmbox(mbox(b"x" * 100), 200)) == 1
    with pytest.raises(TooBig):
        unmbox(mbox(b"x" * 300), 200)


def test_a_maildir_comes_back_to_the_octet() -> None:
    raws = [mail(), b"", b"\x00\xff" * 600]
    data = b"".join(
        to_maildir((summary(id_, is_read=id_ == 1, size=len(raw)), iter([raw])) for id_, raw in enumerate(raws))
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    assert names[:3] == ["Maildir/cur", "Maildir/new", "Maildir/tmp"]
    assert names[3].startswith("Maildir/new/1000.0.ehlo")
    assert names[4].endswith(":2,S")
    assert [(found.raw, found.time) for found in from_tar(io.BytesIO(data), None)] == [(raw, 1000.0) for raw in raws]


def test_names_links_and_devices_in_a_tar_mean_nothing(tmp_path: object) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("device")
    device.type = tarfile.CHRTYPE
    names = ["../../../tmp/evil", "/tmp/evil", "C:\\evil", "a\nb", "x" * 500]
    members = [(link, b""), (device, b""), *((tarfile.TarInfo(name), name.encode()) for name in names)]
    assert [found.raw for found in from_tar(tar(members), None)] == [name.encode() for name in names]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_is_not_unpacked(mode: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a"))
    file.seek(0)
    with pytest.raises(Unreadable):
        list(from_tar(file, None))


def test_a_message_in_a_tar_may_be_too_big() -> None:
    with pytest.raises(TooBig):
        list(from_tar(tar([(tarfile.TarInfo("a"), b"x" * 300)]), 200))


def test_a_tar_that_says_to_be_huge_is_not_believed() -> None:
    member = tarfile.TarInfo("a")
    member.size = 1 << 40
    with pytest.raises((TooBig, Unreadable)):
        list(from_tar(io.BytesIO(member.tobuf() + bytes(1024)), 1 << 20))


def sparse(size: int) -> bytes:
    """A file of nothing, of any size, in the format 1.0 of GNU tar."""
    member = tarfile.TarInfo("s")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size)}
    member.size = 512
    return member.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0")


def test_a_sparse_file_in_a_tar_is_refused() -> None:
    old = tarfile.TarInfo("s")
    old.type = tarfile.GNUTYPE_SPARSE
    for data in (sparse(1 << 36), sparse(1000), old.tobuf()):
        with pytest.raises(Unreadable, match="sparse"):
            list(from_tar(io.BytesIO(data + bytes(1024)), 1 << 20))


def test_an_extended_header_in_a_tar_has_a_limit() -> None:
    member = tarfile.TarInfo("a")
    member.type, member.size = tarfile.XHDTYPE, 1 << 20
    with pytest.raises(Unreadable, match="extended"):
        list(from_tar(io.BytesIO(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)), 1 << 20))


def test_what_a_tar_promises_it_must_hold() -> None:
    member = tarfile.TarInfo("a")
    member.size = 100
    for data in (b"", member.tobuf() + b"short"):
        with pytest.raises(Unreadable):
            list(from_tar(io.BytesIO(data), 1 << 20))


@given(st.binary(max_size=2000))
def test_any_octets_are_a_tar_or_not(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert all(found.sender is None for found in from_tar(io.BytesIO(data), None))


@pytest.mark.parametrize(
    ("header", "sender", "recipients"),
    [
        ("From: A <a@x>\r\nTo: b@x, C <c@x>\r\nCc: b@x\r\n", "a@x", ("b@x", "c@x")),
        ("Return-Path: <r@x>\r\nFrom: a@x\r\nDelivered-To: d@x\r\nTo: b@x\r\n", "r@x", ("d@x",)),
        ("", "", ()),
        ("From: \xff <a@x>\r\nTo: =?utf-8?q?=0d=0a?= <b@x>\r\n", "a@x", ("b@x",)),
    ],
)
def test_an_envelope_is_made_of_the_header(header: str, sender: str, recipients: tuple[str, ...]) -> None:
    found = arrival(Found(header.encode("latin-1") + b"\r\ntext"), "box")
    assert (found.mail_from, found.rcpt_tos, found.inbox) == (sender, recipients, "box")


def test_no_header_makes_too_many_recipients() -> None:
    many = "To: " + ", ".join(f"a{number}@example.com" for number in range(3000)) + "\r\n\r\n"
    assert len(arrival(Found(many.encode()), "box").rcpt_tos) <= 100


@given(st.binary(max_size=400))
def test_any_octets_have_an_envelope(data: bytes) -> None:
    assert "\n" not in arrival(Found(data), "box").mail_from
