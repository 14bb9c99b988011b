"""What goes wrong between a program and a server, as one exception."""

from __future__ import annotations

import re
from typing import Any

import httpx

# How the server begins the next step at the end of its words.
_HINT = re.compile(r"\s*;?\s+hint: ")
_NO_SERVER = "name the address at which `orch web` or `orch standalone` listens, such as `http://host:8080`"
_LOG_IN = "make a token on the page Account and put it into ORCH_API_TOKEN, or give `username` and `password`"
_HIGHER_ROLE = "viewers read, users start runs, ops ask for data and steer streams: log in as a user with a higher role"


class OrchError(Exception):
    """The server refused, failed or cannot be reached.

    `status` is that of HTTP, and None if there was no answer. `detail` and `hint` are the server's words.
    """

    def __init__(
        self, status: int | None, title: str, detail: str, hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(status, title, detail, hint, retry_after)
        self.status = status
        self.title = title
        self.detail = detail
        self.hint = hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        words = f"{self.title}: {self.detail}" if self.status is None else f"{self.status} {self.title}: {self.detail}"
        return f"{words}\nhint: {self.hint}" if self.hint else words

    @property
    def may_pass(self) -> bool:
        """The same request may go well in a moment."""
        return self.status in (None, 429, 502, 503, 504)


def unreachable(address: str, error: Exception) -> OrchError:
    why = str(error) or type(error).__name__
    return OrchError(None, "no answer", f"the server `{address}` cannot be reached: {why}", _NO_SERVER)


def strange(address: str, what: str) -> OrchError:
    detail = f"`{address}` answers what this client does not understand: {what}"
    return OrchError(
        None, "strange answer", detail, "compare `pip show orch-client` with the server's `/api/v2/version`"
    )


def ended() -> OrchError:
    return OrchError(None, "no answer", "the server has ended the connection")


def refusal(address: str, response: httpx.Response) -> OrchError:
    """What a response says that is no success; its body has been read."""
    status, title, hint = response.status_code, response.reason_phrase, None
    try:
        body = response.json()
        said = body["detail"]
    except (ValueError, KeyError, TypeError):
        return OrchError(status, title, f"`{address}` does not answer as an orch server does", _NO_SERVER)
    if isinstance(said, dict):
        title, said = said.get("reason", title), said.get("message", "")
    detail, *rest = _HINT.split(_words(said), maxsplit=1)
    if rest:
        hint = rest[0]
    elif status == 401:
        hint = _LOG_IN
    elif status == 403 and detail == "Forbidden":
        hint = _HIGHER_ROLE
    elif status >= 500 and "request_id" in body:
        hint = f"the server's log says why under `{body['request_id']}`"
    return OrchError(status, title, detail, hint, _seconds(response.headers.get("retry-after")))


def _words(said: Any) -> str:
    """A text, or a list of wrong fields."""
    if not isinstance(said, list):
        return str(said)
    return "; ".join(f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in said)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None
