"""A client of the inbox's API, with the standard library alone.  Knows HTTP; does not know what is asked, or why."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 30.0
"""For an answer, beyond what it is asked to wait."""
_API = "/api/v1/"


class ApiError(Exception):
    """The inbox said no, or is not there; the text is for the user.  ``status`` is that of HTTP, or None."""

    def __init__(self, text: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(text)


class Api:
    """An inbox at a URL.  ``ValueError`` if that is none of HTTP."""

    def __init__(self, url: str, maybe_token: str | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"no address of an inbox: {url}")
        # A link with its token, as the inbox prints it, is an address too.
        tokens = urllib.parse.parse_qs(parts.query).get("token", [])
        self._maybe_token = maybe_token or next(iter(tokens), None)  # an empty one is none
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._base = self._where + parts.path.rstrip("/") + _API
        # No proxy: an inbox is on this machine or near.  No redirect: the token is for this server.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def ask(self, method: str, path: str, query: Mapping[str, Any] | None = None, *, wait: float = 0.0) -> Any:
        """The answer's JSON.  ``query`` leaves out what is None; ``wait`` seconds more may pass.  ``ApiError``."""
        try:
            return json.loads(self.fetch(method, path, query, wait=wait))
        except ValueError as error:
            raise ApiError(f"{self._where} is no inbox of ehlo") from error

    def fetch(self, method: str, path: str, query: Mapping[str, Any] | None = None, *, wait: float = 0.0) -> bytes:
        """The answer's octets."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = self._base + path + (f"?{urllib.parse.urlencode(given)}" if given else "")
        request = urllib.request.Request(url, method=method)  # noqa: S310 - http or https, see above
        if self._maybe_token is not None:
            request.add_header("Authorization", f"Bearer {self._maybe_token}")
        try:
            with self._opener.open(request, timeout=SECONDS + wait) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(self._complaint(error), error.code) from error
        except urllib.error.URLError as error:
            raise ApiError(f"no inbox at {self._where}: {_reason(error.reason)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{self._where}: {_reason(error)}") from error

    def _complaint(self, error: urllib.error.HTTPError) -> str:
        try:
            text = str(json.loads(error.read())["error"]["message"])
        except (ValueError, LookupError, TypeError, OSError, http.client.HTTPException):
            text = f"{self._where} answers {error.code} {error.reason}"
        return text + (" (give it by --token or EHLO_INBOX_TOKEN)" if error.code == 401 else "")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: it becomes an error."""


def _reason(error: object) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; start it with `ehlo catch`, or say where it is by --url"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
