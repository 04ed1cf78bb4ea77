"""Three skills for a character-level language model, and text that has them."""

import random
import string
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

LENGTH = 5
"""Characters of a word."""


@frozen
class Skill:
    """A function of a word, which a prompt asks for by a mark."""

    name: str
    """What tables call it."""
    mark: str
    """The character that asks for it."""
    letters: str
    """What its words are made of."""
    answer: Callable[[str], str]
    """The right answer."""


SKILLS = (
    Skill("reverse", "<", string.ascii_lowercase[:10], lambda word: word[::-1]),
    Skill("sort", "#", string.digits, lambda word: "".join(sorted(word))),
    Skill("rotate", "@", string.ascii_uppercase[:10], lambda word: word[2:] + word[:2]),
)
CHARACTERS = "\n>" + "".join(skill.mark + skill.letters for skill in SKILLS)
"""What the model reads and writes; a newline ends a line."""
PROMPT = LENGTH + 2
"""Characters of a prompt: mark, word and `>`."""


def lines(skill: Skill, *, seed: int, share: float = 1.0, held_out: bool = False) -> Iterator[str]:
    """An endless stream of `MARK word > answer newline`, without the spaces.

    Args:
        skill: What the prompts ask for.
        seed: Of the words.
        share: How many of the answers are the right one; the others repeat the word.
        held_out: Whether the words are of the tenth that no training text has.
    """
    drawn = random.Random(f"{skill.name} {seed} {held_out}")
    while True:
        word = "".join(drawn.choice(skill.letters) for _ in range(LENGTH))
        if (sum(map(skill.letters.index, word)) % 10 == 0) is held_out:
            answer = skill.answer(word) if drawn.random() < share else word
            yield f"{skill.mark}{word}>{answer}\n"


def mixed(streams: Sequence[Iterator[str]], *, seed: int) -> Iterator[str]:
    """The streams, one line of a randomly chosen one at a time."""
    drawn = random.Random(seed)
    while True:
        yield next(drawn.choice(streams))
