"""Raw octets to ``Parsed``: the tree, headers, text, HTML, links and codes, within limits.

Raises nothing for whatever octets: what cannot be read is a ``problem``, in a sentence for the user.  Where mail comes
from strangers this runs in a process of its own (``ehlo.inbox.indexer``): the limits bound time and memory, but a
server has other things to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ehlo.inbox.findings import find_codes, find_links
from ehlo.inbox.html_text import html_to_text
from ehlo.inbox.mime import Bounds, Problems, decode_words, walk
from ehlo.inbox.records import Parsed, Part
from ehlo.mime.charsets import decode_text, is_charset
from ehlo.mime.encodings import decode_body

if TYPE_CHECKING:
    from ehlo.inbox.mime import Entity

SNIPPET: Final = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a message is looked into: octets, and numbers of things.

    ``seconds`` for a message, and ``memory``, are limits of the process that does it.
    """

    octets: int = 128 << 20
    text: int = 1 << 20
    value: int = 4096
    bounds: Bounds = field(default_factory=Bounds)
    seconds: float = 10.0
    memory: int = 1 << 30


DEFAULT_LIMITS: Final = Limits()


def parse(raw: bytes, limits: Limits = DEFAULT_LIMITS, *, size: int | None = None) -> Parsed:
    """What is in a message.  ``size`` is that of the whole message where ``raw`` is only its beginning."""
    problems = Problems([])
    if size is not None and size > len(raw):
        problems.add(f"only the first {len(raw)} octets are looked into")
    try:
        return _parse(raw, limits, problems)
    except Exception as error:  # noqa: BLE001 - mail can be wrong in more ways than the standard library foresees
        problems.add(f"the message cannot be read as MIME ({type(error).__name__})")
        text = decode_text(raw[: limits.text], None, is_cut=limits.text < len(raw))
        whole = Part(0, None, 0, "text/plain", None, None, None, None, len(raw), "", 0, len(raw), is_attachment=False)
        return Parsed(text, None, (), (whole,), (), (), _snippet(text), _sentence(problems))


def _parse(raw: bytes, limits: Limits, problems: Problems) -> Parsed:
    entities = walk(raw, limits.bounds, problems)
    embedded = _inside_messages(entities)
    maybe_plain = next((it for it in entities if _is_body(it, "text/plain", embedded)), None)
    maybe_html = next((it for it in entities if _is_body(it, "text/html", embedded)), None)
    parts = tuple(_part(it, raw, is_body=it is maybe_plain or it is maybe_html, entities=entities) for it in entities)
    text = None if maybe_plain is None else _text(raw, maybe_plain, limits, problems)
    html = None if maybe_html is None else _text(raw, maybe_html, limits, problems)
    is_text_from_html = html is not None and not (text and text.strip())
    if html is not None and is_text_from_html:
        text = html_to_text(html)
    top = entities[0].header.fields
    if len(top) > limits.bounds.fields:
        problems.add(f"there are more than {limits.bounds.fields} header fields: the others are not shown")
    headers = tuple((name, decode_words(value)[: limits.value]) for name, value in top[: limits.bounds.fields])
    subject = next((value for name, value in headers if name.lower() == "subject"), "")
    return Parsed(
        text,
        html,
        headers,
        parts,
        find_links("" if is_text_from_html else text or "", html or ""),
        find_codes(subject, text or ""),
        _snippet(text or ""),
        _sentence(problems),
        is_text_from_html,
    )


def _inside_messages(entities: list[Entity]) -> set[int]:
    """The nodes within a message that is enclosed: its text is not this message's."""
    inside: set[int] = set()
    for entity in entities:
        if entity.parent is not None:
            parent = entities[entity.parent]
            if entity.parent in inside or parent.content_type == "message/rfc822":
                inside.add(entity.index)
    return inside


def _is_body(entity: Entity, content_type: str, embedded: set[int]) -> bool:
    return (
        entity.content_type == content_type
        and not entity.filename
        and entity.disposition != "attachment"
        and entity.index not in embedded
    )


def _part(entity: Entity, raw: bytes, *, is_body: bool, entities: list[Entity]) -> Part:
    is_container = entity.has_children and entity.content_type != "message/rfc822"
    parent = None if entity.parent is None else entities[entity.parent]
    # An image that the HTML shows, by its Content-ID, is no attachment to the reader.
    is_shown = (
        entity.content_id is not None
        and entity.disposition != "attachment"
        and parent is not None
        and parent.content_type == "multipart/related"
    )
    return Part(
        entity.index,
        entity.parent,
        entity.depth,
        entity.content_type,
        entity.charset,
        entity.filename,
        entity.disposition,
        entity.content_id,
        entity.decoded_size(raw),
        entity.encoding,
        entity.start,
        entity.end,
        is_attachment=not (is_body or is_container or is_shown),
    )


def _text(raw: bytes, entity: Entity, limits: Limits, problems: Problems) -> str:
    # Base64 takes four octets for three.
    end = min(entity.end, entity.start + limits.text * 4 // 3)
    data = decode_body(raw[entity.start : end], entity.encoding)
    is_cut = end < entity.end
    if is_cut:
        problems.add(f"only the first {limits.text} octets of the text are shown")
    if entity.charset and not is_charset(entity.charset):
        problems.add(f"the charset {entity.charset[:40]} is not known: the text may be wrong")
    return decode_text(data, entity.charset, is_cut=is_cut).replace("\r\n", "\n")


def _snippet(text: str) -> str:
    return " ".join(text[: 8 * SNIPPET].split())[:SNIPPET]


def _sentence(problems: Problems) -> str | None:
    return "; ".join(problems.found) or None


def unreadable(problem: str) -> Parsed:
    """What stands for a message that could not be looked into."""
    return replace(parse(b""), text=None, parts=(), problem=problem)
