"""What is made of tensors, found again for those that are of the same kind.

Tensors are of one kind if they have the same key, and give the same answers to what the method asks
of them. What it asks next may depend on the answers so far, and on nothing else: they lead through
a tree, question by question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import field

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from graphmerge.methods.questions import Question, Tensor

Made = TypeVar("Made")


@frozen(eq=False)
class _Branch:
    """A question, and where each answer leads: to another one, or to what is made."""

    question: Question
    by_answer: dict[Hashable, Any] = field(factory=dict)


@frozen(eq=False)
class Kinds(Generic[Made]):
    """What is made of each kind of tensors, as far as it is known."""

    _by_key: dict[Hashable, Any] = field(factory=dict, init=False)

    def find(self, key: Hashable, tensor: Callable[[], Tensor]) -> Made | None:
        """What is made of the tensor's kind; None if that is not known yet.

        Args:
            key: What its kind depends on beside answers.
            tensor: Gives the tensor, where something is to be asked of it.
        """
        found = self._by_key.get(key)
        while isinstance(found, _Branch):
            found = found.by_answer.get(found.question.of(tensor()))
        return found

    def add(self, key: Hashable, asked: Mapping[Question, Hashable], made: Made) -> None:
        """Note what is made of tensors with these answers to what was asked, in order."""
        place, at = self._by_key, key
        for question, answer in asked.items():
            place, at = place.setdefault(at, _Branch(question)).by_answer, answer
        place[at] = made
