"""Print text that may hold names from files and recipes."""

from __future__ import annotations

import typer


def visible(text: str) -> str:
    """The text with an escape for each character that a terminal would obey instead of showing.

    Line ends and tabs stay: they are the command's own.
    """
    if text.isprintable():
        return text
    return "".join(character if _is_shown(character) else _escaped(character) for character in text)


def say(text: str, *, err: bool = False) -> None:
    """Print a text on stdout, or on stderr."""
    typer.echo(visible(text), err=err)


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in "\n\t"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
