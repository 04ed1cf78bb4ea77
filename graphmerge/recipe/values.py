"""A recipe as frozen values: what the YAML says, checked; nothing is read from a checkpoint yet."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve, field

from graphmerge.frozen_classes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graphmerge.spec import DType

Scalar: TypeAlias = "bool | int | float | str"
"""A parameter value of one tensor."""


def _frozen_mapping(value: Mapping[str, ParameterValue]) -> Mapping[str, ParameterValue]:
    return MappingProxyType(dict(value))


def _frozen_tokens(value: Mapping[str, TokenSource]) -> Mapping[str, TokenSource]:
    return MappingProxyType(dict(value))


@frozen
class ModelReference:
    """Where a model's files are: `PATH[@REVISION][+LORA[@REVISION]]`."""

    path: str
    """A local path, or a Hub id if no such path exists."""
    revision: str | None = None
    """Branch, tag or commit of a Hub model."""
    lora: ModelReference | None = None
    """An adapter to add to the model."""
    override_architecture: str | None = None
    """Accepted for compatibility; graphmerge works from tensor names and needs no architecture."""

    def __str__(self) -> str:
        text = self.path + (f"@{self.revision}" if self.revision else "")
        return f"{text}+{self.lora}" if self.lora else text


@frozen
class PerTensor:
    """A value that a function gives for each tensor; only Python can say it, no recipe file."""

    function: Callable[[str, int | None, int], Scalar] = field(repr=False)
    """Maps tensor name, number of the layer (None outside the layers) and number of layers."""
    name: str
    """What messages, and whatever depends on how a model is made, call it."""


@frozen
class Conditional:
    """One candidate value of a parameter, for the tensors whose name contains `filter`."""

    value: Scalar | tuple[Scalar, ...] | PerTensor
    """A scalar, the points of a gradient over the layers, or a function."""
    filter: str | None = None
    """Substring of the tensor name; None (parsed from `*`, too) matches every tensor."""


ParameterValue: TypeAlias = "tuple[Conditional, ...]"
"""A parameter as the recipe gives it: candidates in order, the first match wins. A plain scalar or
a gradient is one unconditional candidate. Empty counts as not given."""


@frozen
class Source:
    """One model taking part in a merge, whole or as a range of its layers."""

    model: ModelReference
    """Whose tensors these are."""
    layer_range: tuple[int, int] | None = None
    """Layers [start, end) of the model. In the `models:` form None, or given without effect."""
    parameters: Mapping[str, ParameterValue] = field(
        factory=dict, converter=_frozen_mapping, hash=False
    )
    """Per-model parameters."""
    statistics: ModelReference | None = None
    """A checkpoint of what data say about the model's tensors, by the same names."""


@frozen
class Slice:
    """A stretch of the output's layers, merged from equally long layer ranges."""

    sources: tuple[Source, ...]
    """The models of this stretch, in recipe order."""
    base_model: ModelReference | None = None
    """Base model of this stretch; None takes the recipe's."""
    parameters: Mapping[str, ParameterValue] = field(
        factory=dict, converter=_frozen_mapping, hash=False
    )
    """Parameters for every source of the slice."""


@frozen
class Module:
    """A named part of the model (`modules:`), or the whole of it (name None)."""

    name: str | None
    """Name of the part; None when the recipe has `models:` or `slices:` at top level."""
    slices: tuple[Slice, ...]
    """Slices in order. The `models:` form is one slice whose sources have no layer range."""
    is_whole_model: bool
    """True for the `models:` form: one slice without layer ranges."""
    parameters: Mapping[str, ParameterValue] = field(
        factory=dict, converter=_frozen_mapping, hash=False
    )
    """Parameters of the module; empty at top level."""


class TokenKind(Enum):
    """Where the embedding row of a configured token comes from."""

    MODEL = "model"
    """The same token of another model."""
    ZERO = "zero"
    """A row of zeros."""
    MODEL_TOKEN = "model_token"
    """A given token of a given model."""


@frozen
class TokenSource:
    """The configured source of one token's embedding row."""

    kind: TokenKind
    """Which of the three forms it is."""
    model: ModelReference | None = None
    """Model to take the row from; None for zero."""
    token: str | None = None
    """Token of that model (model_token only)."""
    token_id: int | None = None
    """Row of that model (model_token only; instead of `token`)."""
    force: bool = False
    """Use the configured source even for models that have the token."""


@frozen
class TokenizerSettings:
    """The `tokenizer:` section (or the older `tokenizer_source:`)."""

    source: str | ModelReference = "union"
    """`union`, `base`, or the model whose tokenizer the output has."""
    tokens: Mapping[str, TokenSource] = field(factory=dict, converter=_frozen_tokens, hash=False)
    """Configured sources of single tokens."""
    pad_to_multiple_of: int | None = None
    """Vocabulary size is rounded up to a multiple of this."""

    def models(self) -> tuple[ModelReference, ...]:
        """The models that it names, each once."""
        named = [source.model for source in self.tokens.values()]
        own = [] if isinstance(self.source, str) else [self.source]
        return tuple(dict.fromkeys([*own, *(model for model in named if model is not None)]))


@frozen
class Recipe:
    """A whole recipe."""

    merge_method: str
    """Name of a registered method."""
    modules: tuple[Module, ...]
    """The parts of the model; a single nameless one unless the recipe has `modules:`."""
    base_model: ModelReference | None = None
    """The model that task vectors are taken against, and donor of config and tokenizer."""
    parameters: Mapping[str, ParameterValue] = field(
        factory=dict, converter=_frozen_mapping, hash=False
    )
    """Global parameters."""
    is_operation: bool = False
    """Whether `merge_method` is the name of an operation of a `graph:` section instead."""
    dtype: DType | None = None
    """Inputs are cast to this at load."""
    out_dtype: DType | None = None
    """Outputs are cast to this at save; None takes `dtype`, else each tensor keeps its own."""
    tokenizer: TokenizerSettings | None = None
    """How vocabularies are combined; None when the recipe does not say."""
    embeddings: str = "auto"
    """Without a tokenizer section, what becomes of vocabularies of different sizes."""
    chat_template: str | None = None
    """`auto`, the name of a built-in, or a literal template."""
    text: str = field(default="", eq=False, repr=False)
    """The YAML as it was read; stored with the output."""
    origin: str = field(default="<string>", eq=False, repr=False)
    """File that the recipe came from, for messages."""

    @property
    def donor(self) -> ModelReference:
        """The model that gives config and tokenizer: the base, else the first listed one."""
        return self.base_model or self.modules[0].slices[0].sources[0].model

    def merged(self) -> tuple[ModelReference, ...]:
        """Every model that is merged, each once, the base first."""
        found = dict.fromkeys(filter(None, [self.base_model]))
        for module in self.modules:
            for part in module.slices:
                found.update(dict.fromkeys(filter(None, [part.base_model])))
                found.update((source.model, None) for source in part.sources)
        return tuple(found)

    def statistics(self) -> tuple[ModelReference, ...]:
        """Every checkpoint of statistics of a model, each once."""
        parts = (part for module in self.modules for part in module.slices)
        sources = (source for part in parts for source in part.sources)
        return tuple(dict.fromkeys(x.statistics for x in sources if x.statistics))


@frozen
class Entry:
    """A recipe that others may refer to."""

    name: str
    """What they call it; empty for a file that holds a single recipe."""
    recipe: Recipe
    """What it makes."""

    def inputs(self) -> tuple[ModelReference, ...]:
        """Every checkpoint that the recipe uses, each once: its models, then statistics of them."""
        return tuple(dict.fromkeys((*self.models(), *self.recipe.statistics())))

    def models(self) -> tuple[ModelReference, ...]:
        """Every model that is merged, each once, the base first."""
        return self.recipe.merged()

    def references(self) -> tuple[ModelReference, ...]:
        """Every model that the recipe speaks of: its inputs, then those of its tokenizer."""
        settings = self.recipe.tokenizer
        return tuple(dict.fromkeys((*self.inputs(), *(settings.models() if settings else ()))))


@frozen
class RecipeGraph:
    """A whole recipe file: entries that may be inputs of one another, and which is the output."""

    entries: tuple[Entry, ...]
    """Entries, inputs before users."""
    output: str
    """Name of the entry that is the output."""
    text: str = field(default="", eq=False, repr=False)
    """The YAML as it was read; stored with the output."""
    origin: str = field(default="<string>", eq=False, repr=False)
    """File that the recipe came from, for messages."""

    @property
    def final(self) -> Recipe:
        """The recipe of the output."""
        return next(entry.recipe for entry in self.entries if entry.name == self.output)

    @property
    def template_entry(self) -> Entry | None:
        """The entry whose chat template the output gets: it itself, or one that gives it its files.

        None if the template of the files stays.
        """
        by_name = {entry.name: entry for entry in self.entries}
        entry = by_name.get(self.output)
        while entry is not None and entry.recipe.chat_template is None:
            entry = by_name.get(str(entry.recipe.donor))
        return entry

    @property
    def chat_template(self) -> str | None:
        """The chat template that the recipes give the output."""
        entry = self.template_entry
        return entry.recipe.chat_template if entry else None

    def with_chat_template(self, template: str) -> RecipeGraph:
        """The same recipes, whose output gets another chat template."""
        return evolve(
            self,
            entries=tuple(
                evolve(entry, recipe=evolve(entry.recipe, chat_template=template))
                if entry.name == self.output
                else entry
                for entry in self.entries
            ),
        )

    def needed(self) -> tuple[Entry, ...]:
        """The entries that the output is made from, inputs before users."""
        wanted = {self.output}
        chosen: list[Entry] = []
        for entry in reversed(self.entries):
            if entry.name in wanted:
                chosen.append(entry)
                wanted.update(str(reference) for reference in entry.references())
        return tuple(reversed(chosen))

    def stored(self) -> tuple[ModelReference, ...]:
        """The models that the output needs and no entry makes: checkpoints."""
        names = {entry.name for entry in self.entries}
        found = (reference for entry in self.needed() for reference in entry.references())
        return tuple(dict.fromkeys(ref for ref in found if str(ref) not in names))

    def statistics(self) -> tuple[ModelReference, ...]:
        """Those of the checkpoints that are no models, only statistics of them."""
        entries = self.needed()
        merged = {reference for entry in entries for reference in entry.models()}
        given = dict.fromkeys(ref for entry in entries for ref in entry.recipe.statistics())
        return tuple(reference for reference in given if reference not in merged)

    @property
    def methods(self) -> str:
        """Names of the methods and operations that the output needs, each once."""
        return ", ".join(dict.fromkeys(entry.recipe.merge_method for entry in self.needed()))
