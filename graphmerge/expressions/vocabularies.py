"""What `merge` takes about vocabularies and chat templates, as recipes hold it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphmerge.errors import GraphError, Problem, RecipeError
from graphmerge.expressions.arguments import wrong_argument
from graphmerge.expressions.expression import Expression, placeholder
from graphmerge.expressions.loading import Input, stored
from graphmerge.frozen_classes import frozen
from graphmerge.recipe.cursor import Cursor
from graphmerge.recipe.graph_section import renamed_tokenizer
from graphmerge.recipe.tokenizer import read_chat_template, read_embeddings, read_vocabulary
from graphmerge.vocabulary.chat_templates import check_template

if TYPE_CHECKING:
    from graphmerge.recipe.values import ModelReference, TokenizerSettings

TokenizerChoice: TypeAlias = "Input | Mapping[str, object]"
"""`union`, `base`, a checkpoint, or the mapping that recipes have."""


@frozen(eq=False)
class Vocabulary:
    """The sections of a recipe about the vocabulary."""

    tokenizer: TokenizerSettings | None
    """How vocabularies are combined."""
    models: Mapping[ModelReference, Expression]
    """The checkpoints that it names."""
    embeddings: str
    """What becomes of vocabularies of different sizes."""
    chat_template: str | None
    """The chat template of the output."""

    def tokenizer_of(
        self, names: Mapping[ModelReference, ModelReference]
    ) -> TokenizerSettings | None:
        """How vocabularies are combined, with the checkpoints called otherwise."""
        return self.tokenizer and renamed_tokenizer(self.tokenizer, names)


def read_sections(
    tokenizer: TokenizerChoice | None, embeddings: str | None, chat_template: str | None
) -> Vocabulary:
    """The sections, checked.

    Raises:
        RecipeError: everything that is wrong with them.
        InputError: a checkpoint that they name is not there.
    """
    named: dict[str, Expression] = {}
    given = {
        "tokenizer": _without_expressions(_as_section(tokenizer), named),
        "embeddings": embeddings,
        "chat_template": chat_template,
    }
    root = Cursor(given, folder=Path.cwd())
    fields = root.fields(tuple(given))
    settings = read_vocabulary(root, fields)
    policy, template = read_embeddings(fields), read_chat_template(fields.get("chat_template"))
    if root.problems:
        raise RecipeError(*root.problems)
    if template is not None:
        check_template(template)
    references = settings.models() if settings else ()
    models = {ref: named.get(ref.path) or stored(ref, Path.cwd()) for ref in references}
    return Vocabulary(settings, models, policy, template)


def _as_section(tokenizer: object) -> object:
    """A source alone stands for a section with nothing else."""
    if tokenizer is None or isinstance(tokenizer, Mapping):
        return tokenizer
    if not isinstance(tokenizer, (str, Path, Expression)):
        wanted = "union, base, a checkpoint, or the mapping that recipes have"
        raise wrong_argument(tokenizer, "tokenizer of merge", wanted)
    return {"source": str(tokenizer) if isinstance(tokenizer, Path) else tokenizer}


def _without_expressions(value: object, named: dict[str, Expression]) -> object:
    """The section with placeholders for the expressions in it, which are noted."""
    if isinstance(value, Mapping):
        return {key: _without_expressions(part, named) for key, part in value.items()}
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, Expression):
        return value
    if value._recipe is not None:
        what = "a result has no tokenizer files"
        raise GraphError(Problem(what, "tokenizer", repr(value), "a checkpoint"))
    name = placeholder(len(named)).path
    named[name] = value
    return name
