"""The examples of the guides, as they stand there."""

from __future__ import annotations

from typing import Any

import pytest

from guide import examples, run


def test_the_guide_to_the_client_does_what_it_says(monkeypatch: pytest.MonkeyPatch, token: str, retail: str) -> None:
    monkeypatch.setenv("ORCH_API_TOKEN", token)
    found = examples("python-client", "python")
    assert len(found) > 9
    names: dict[str, Any] = {"__name__": "guide"}
    for example in found:
        run("python-client", example, names)
