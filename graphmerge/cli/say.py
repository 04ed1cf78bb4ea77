"""Print lines that may hold names from files and recipes."""

from __future__ import annotations

import logging
import unicodedata

import typer

_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that a terminal does not show as they are: controls (ends of lines among
them), what turns the direction of text, halves of pairs, and other ends of lines."""


def visible(line: str) -> str:
    """A line with an escape for each character that a terminal would obey instead of showing."""
    if line.isprintable():
        return line
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _OBEYED
        else character
        for character in line
    )


def say(line: str, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr."""
    typer.echo(visible(line), err=err)


class SayingHandler(logging.Handler):
    """Prints what is logged on stderr, a line for each record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        say(self.format(record), err=True)
