"""Names of files, as strangers gave them, made fit for a header field and for a disk."""

from __future__ import annotations

import re
from urllib.parse import quote

NAME_LIMIT = 120

# What a file system, a shell or a reader could take for something else: separators, what Windows forbids, control
# characters, and the overrides of bidirectional text, with which "exe.gpj" looks like "jpg.exe".
_BAD = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*;%\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def safe_name(maybe_name: str | None, otherwise: str) -> str:
    """The last part of a path without what is dangerous in it; ``otherwise`` where nothing is left."""
    last = re.split(r"[/\\]", maybe_name or "")[-1]
    name = _BAD.sub("_", last).strip(" .")
    if len(name) > NAME_LIMIT:
        stem, dot, ending = name.rpartition(".")
        name = stem[: NAME_LIMIT - 20] + dot + ending[:19] if dot else name[:NAME_LIMIT]
    if not name.strip("_. "):
        return otherwise
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def attachment(name: str) -> str:
    """A Content-Disposition field (RFC 6266 §4.1): for all, and, in UTF-8, for those who know RFC 8187."""
    plain = re.sub(r"[^ !#$&\'()+,\-.0-9=@A-Z\[\]^_`a-z{}~]", "_", name)
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
