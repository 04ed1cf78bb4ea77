"""What the cards of all outputs have in common: the models that took part, and their licences."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from attrs import field

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

_LICENCE_KEYS = ("license", "license_name", "license_link")


@frozen
class CardPart:
    """A checkpoint or adapter that took part."""

    name: str
    """What it is called: a Hub id, or a folder's name (its path may be private)."""
    is_hub: bool = False
    """Whether it is a model of the Hub."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model."""
    card: Mapping[str, Any] = field(factory=dict, hash=False)
    """Front matter of its own model card; empty if it has none."""

    @property
    def text(self) -> str:
        """Its name with its revision; a link for a Hub model."""
        link = f"[{self.name}](https://huggingface.co/{self.name})" if self.is_hub else None
        revision = f" at `{self.revision}`" if self.revision else ""
        return (link or f"`{self.name}`") + revision

    @property
    def licence(self) -> dict[str, Any]:
        """What its card says of its licence; empty if it says nothing."""
        return {key: self.card[key] for key in _LICENCE_KEYS if self.card.get(key)}


def front_matter(content: Mapping[str, Any], parts: Collection[CardPart]) -> Iterator[str]:
    """The lines that the Hub reads; the licence is stated where all parts have the same one."""
    first, *others = parts
    agreed = first.licence if all(part.licence == first.licence for part in others) else {}
    text = yaml.safe_dump(dict(content) | agreed, sort_keys=False, allow_unicode=True)
    yield from ("---", f"{text}---")


def use_section(title: str, library: str, code: str) -> Iterator[str]:
    """How the output is loaded; `code` is Python, empty where it is not known."""
    yield from ("## Use", "")
    if not code:
        yield from (f"Load it with `{library}`.", "")
        return
    yield from block("python", code)
    yield from (f"`{title}` is the folder; a copy on the Hub has its id there instead.", "")


def licence_section(parts: Iterable[CardPart]) -> Iterator[str]:
    """What is known of licences."""
    yield from ("## Licence", "")
    yield (
        "This is what the cards of the models say. Whether these licences go together, and what "
        "they ask of a merge, is for you to check before you use or share it."
    )
    yield ""
    yield from table(("model", "licence"), [(part.text, _licence(part)) for part in parts])


def _licence(part: CardPart) -> str:
    name = part.licence.get("license_name") or part.licence.get("license")
    if not name:
        return "not stated"
    return ", ".join(map(str, name)) if isinstance(name, list) else str(name)


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, and an empty one."""
    yield f"| {' | '.join(heading)} |"
    yield "|" + "---|" * len(heading)
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def block(language: str, text: str) -> tuple[str, ...]:
    """A block of code, fenced by more backticks than any run of them in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return (f"{fence}{language}", text.rstrip("\n"), fence, "")
