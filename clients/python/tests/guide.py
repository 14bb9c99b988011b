"""What guides show, for the tests that run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_GUIDES = Path(__file__).parents[3] / "docs/guides"


def examples(guide: str, language: str) -> list[tuple[int, str]]:
    """What stands between fences of a language, with the line where it begins."""
    found, line = [], 1
    for place, part in enumerate((_GUIDES / f"{guide}.md").read_text().split("```")):
        if place % 2 and part.startswith(f"{language}\n"):
            found.append((line, part.removeprefix(language)))
        line += part.count("\n")
    return found


def run(guide: str, example: tuple[int, str], names: dict[str, Any]) -> None:
    """Its errors name the line of the guide."""
    line, code = example
    exec(compile("\n" * (line - 1) + code, str(_GUIDES / f"{guide}.md"), "exec"), names)
