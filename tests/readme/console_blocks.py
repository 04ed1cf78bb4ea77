"""The command blocks of a Markdown text, and whether an output looks as the text says."""

import re

from attrs import frozen

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_REST = "..."
_ALIKE = (
    (re.compile(r"\d+(?:[,.]\d+)*"), "N"),
    (re.compile(r"(?<=N )[KMGT]iB\b"), "B"),
    (re.compile(r"(?<=N )(unit|pass|worker|shard|file)e?s\b"), r"\1"),
    (re.compile(r"[▁▂▃▄▅▆▇█]+"), "▁"),
    (re.compile(r" +"), " "),
)
"""What is alike in two outputs that say the same of other models on another machine."""


@frozen
class Command:
    """One command with the output that the text shows; no lines where it shows none."""

    text: str
    output: tuple[str, ...]


def commands(markdown):
    """Every command of every block, in order."""
    found = []
    for block in _BLOCK.findall(markdown):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text, *output = part.splitlines()
            found.append(Command(text, tuple(output)))
    return found


def missing_lines(shown, output):
    """The lines of the text that the output does not have, in their order; `...` is anything."""
    lines = [_words(line) for line in output.splitlines()]
    missing, position = [], 0
    for line in shown:
        begins = _words(line.removesuffix(_REST))
        matches = str.startswith if line.endswith(_REST) else str.__eq__
        found = [at for at in range(position, len(lines)) if matches(lines[at], begins)]
        if found:
            position = found[0] + (line != _REST)
        else:
            missing.append(line)
    return missing


def _words(line):
    """A line without what differs from machine to machine."""
    for pattern, replacement in _ALIKE:
        line = pattern.sub(replacement, line)
    return line.rstrip()
