"""The models of a merge: their headers and where their layers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.checkpoint.layers import find_layers
from graphmerge.checkpoint.vocabulary import tied_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.checkpoint.layer_layout import LayerLayout, LayerStack
    from graphmerge.checkpoint.values import Checkpoint, TensorEntry
    from graphmerge.recipe.values import ModelReference, Recipe


@frozen(eq=False)
class Model:
    """One model taking part in a merge."""

    reference: ModelReference
    """As the recipe refers to it."""
    checkpoint: Checkpoint
    """Its headers and config."""
    layout: LayerLayout
    """Its stacks of layers."""
    tied: Mapping[str, str]
    """Names that the model leaves out because another tensor stands for them: head -> embedding."""

    @property
    def label(self) -> str:
        """The model as messages and masks name it."""
        return str(self.reference)

    def find(self, name: str) -> TensorEntry | None:
        """The stored tensor of this name, or the one it is tied to."""
        tensors = self.checkpoint.tensors
        return tensors.get(name) or tensors.get(self.tied.get(name, ""))


def open_model(reference: ModelReference, checkpoint: Checkpoint) -> Model:
    """A model with its layers found."""
    names = tuple(checkpoint.tensors)
    tied = tied_head(names, checkpoint.config)
    layout = find_layers(names, checkpoint.config)
    return Model(reference, checkpoint, layout, dict([tied]) if tied else {})


def references(recipe: Recipe) -> tuple[ModelReference, ...]:
    """Every model whose tensors the recipe uses, each once, the base first."""
    found: dict[ModelReference, None] = {}
    if recipe.base_model:
        found[recipe.base_model] = None
    for module in recipe.modules:
        for part in module.slices:
            if part.base_model:
                found[part.base_model] = None
            found.update((source.model, None) for source in part.sources)
    return tuple(found)


def donor_reference(recipe: Recipe) -> ModelReference:
    """The model that gives config and tokenizer: the base, else the first listed one."""
    return recipe.base_model or recipe.modules[0].slices[0].sources[0].model


def stack_of(model: Model, within: str | None) -> LayerStack | None:
    """The stack of layers that slices are cut from; `within` names the module it must lie in.

    None if there is no such stack, or more than one.
    """
    stacks = [
        stack for stack in model.layout.stacks if within is None or in_module(stack.prefix, within)
    ]
    return stacks[0] if len(stacks) == 1 else None


def in_module(name: str, module: str) -> bool:
    """Whether a tensor lies in a module: the module's name is among the parts of its name."""
    return f".{module}." in f".{name}"
