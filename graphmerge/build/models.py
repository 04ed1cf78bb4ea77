"""The models of a merge: their headers and where their layers are."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import evolve

from graphmerge.checkpoint.components import find_component_layers
from graphmerge.checkpoint.layers import find_layers
from graphmerge.checkpoint.name_set import NameSet, name_set
from graphmerge.checkpoint.names import in_tower, natural_sorted
from graphmerge.checkpoint.quantisation import find_quantisation, without_quantisation
from graphmerge.checkpoint.scaled_weights import ScaledWeight
from graphmerge.checkpoint.values import WHOLE
from graphmerge.checkpoint.vocabulary import tied_head
from graphmerge.errors import CheckpointError
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Pattern, Value, make_node
from graphmerge.ops.dequantise import Dequantise, DequantisePacked
from graphmerge.ops.sources import LoadTensor
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Iterable, Mapping

    from graphmerge.build.alignment import TokenizerOrigin
    from graphmerge.checkpoint.layer_layout import LayerLayout, LayerStack
    from graphmerge.checkpoint.quantisation import Quantisation
    from graphmerge.checkpoint.values import Checkpoint
    from graphmerge.graph import Op
    from graphmerge.recipe.values import ModelReference
    from graphmerge.spec import TensorSpec


DEQUANTISED = DType.BF16
"""Dtype that dequantised weights have in a file; they are computed in float32."""


@frozen(eq=False)
class ModelTensor:
    """One tensor of a model: stored in a file, or made by the graph."""

    pattern: Pattern
    """How it is computed: in the stored dtype for a stored tensor, else in that of the
    arithmetic."""
    leaves: tuple[Op, ...]
    """From what: as many as the pattern has."""
    stored: DType
    """Dtype that it has in a file, or will have if it is written as it is."""
    reason: str = ""
    """Why it is copied instead of merged; empty for merged and for stored tensors."""
    tensors: tuple[str, ...] = ()
    """Names that its random masks depend on: as many as the pattern has."""

    @property
    def value(self) -> Value:
        """What gives its values."""
        return Value(self.pattern, self.leaves, self.tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.pattern.root.spec.shape


@frozen(eq=False)
class Model:
    """One model taking part in a merge: a checkpoint, or what another merge makes."""

    reference: ModelReference
    """As the recipe refers to it."""
    key: str
    """What random masks depend on: the reference of a checkpoint; of a derived model something
    that says how it is made, whatever it is called."""
    tensors: Mapping[str, ModelTensor]
    """Its tensors by name, in natural order of names."""
    config: Mapping[str, Any]
    """Its config.json."""
    tied: Mapping[str, str]
    """Names that the model leaves out because another tensor stands for them: head -> embedding."""
    checkpoint: Checkpoint
    """Its files; of a derived model those of its donor, whose tokenizer and side files it has."""
    is_stored: bool
    """Whether its tensors are those of the checkpoint, or rows of it."""
    tokenizer: TokenizerOrigin | None = None
    """Where its tokenizer is from, if not from the checkpoint's files."""
    adapter: Checkpoint | None = None
    """The files of the adapter that is added to the checkpoint, if there is one."""
    record: str = ""
    """What this is instead of a model, such as masks for a later merge; empty for a model."""

    @cached_property
    def names(self) -> NameSet:
        """The names of its tensors, in their order."""
        return name_set(self.tensors)

    @cached_property
    def layout(self) -> LayerLayout:
        """Its stacks of layers."""
        parts = self.checkpoint.components
        if parts != (WHOLE,):
            return find_component_layers(self.tensors, self.config, parts)
        return find_layers(self.names.names, self.config)

    def layout_in(self, module: str | None) -> LayerLayout:
        """The stacks of layers that hold in a module: those of the model, unless it has none there.

        So vision and audio towers have layers where `modules:` names them, and nowhere else.
        """
        is_within = any(in_module(stack.prefix, module) for stack in self.layout.stacks)
        if module is None or is_within or self.checkpoint.components != (WHOLE,):
            return self.layout
        names = [name for name in self.tensors if in_module(name, module)]
        return find_layers(names, self.config, towers=in_tower(module))

    @property
    def label(self) -> str:
        """The model as messages name it."""
        return str(self.reference)

    @property
    def files(self) -> tuple[Checkpoint, ...]:
        """Everything that is read of it: the checkpoint, and the adapter if there is one."""
        return (self.checkpoint, *([self.adapter] if self.adapter else []))

    def untied_by(self, models: Iterable[Model]) -> list[str]:
        """The heads that are tied here, and that one of the models has of its own."""
        given = list(models)
        return [head for head in self.tied if any(head in model.tensors for model in given)]

    def still_tied(self, stored: Container[str]) -> dict[str, str]:
        """What stays tied, head -> embedding, where there are tensors of these names."""
        return {head: name for head, name in self.tied.items() if head not in stored}

    def find(self, name: str) -> ModelTensor | None:
        """The tensor of this name, or the one it is tied to."""
        return self.tensors.get(name) or self.tensors.get(self.tied.get(name, ""))


def open_model(reference: ModelReference, checkpoint: Checkpoint) -> Model:
    """A stored model with its layers found.

    Raises:
        CheckpointError: the model is quantised.
    """
    quantisation = find_quantisation(checkpoint)
    if quantisation is not None and quantisation.is_refused:
        raise CheckpointError(quantisation.problem(str(reference)))
    label, names, config = str(reference), checkpoint.names.names, checkpoint.config
    tied = tied_head(names, config) if checkpoint.components == (WHOLE,) else None
    tensors, pairs = _stored_tensors(label, checkpoint), dict(filter(None, [tied]))
    if quantisation is not None:
        tensors = _dequantised(label, tensors, quantisation)
        config = without_quantisation(config)
        checkpoint = evolve(checkpoint, notes=(*checkpoint.notes, *quantisation.notes))
    return Model(reference, label, tensors, config, pairs, checkpoint, is_stored=True)


def _stored_tensors(label: str, checkpoint: Checkpoint) -> dict[str, ModelTensor]:
    """A load of every tensor; those of one shape and dtype share a pattern."""
    patterns: dict[TensorSpec, Pattern] = {}
    tensors: dict[str, ModelTensor] = {}
    for name, entry in checkpoint.tensors.items():
        load = LoadTensor(label, entry)
        pattern = patterns.get(entry.spec)
        if pattern is None:
            pattern = patterns[entry.spec] = Pattern(make_node(load), (load,))
        tensors[name] = ModelTensor(pattern, (load,), entry.spec.dtype)
    return tensors


def _dequantised(
    label: str, tensors: Mapping[str, ModelTensor], quantisation: Quantisation
) -> dict[str, ModelTensor]:
    """The tensors with weights in the place of codes and scales."""
    patterns: dict[Hashable, Pattern] = {}
    made: dict[str, ModelTensor] = {}
    for name, weight in quantisation.weights.items():
        op: Op = DequantisePacked()
        if isinstance(weight, ScaledWeight):
            op = Dequantise(*weight.block)
        loads = (LoadTensor(label, weight.codes), LoadTensor(label, weight.scales))
        kind = (op, weight.codes.spec, weight.scales.spec)
        if kind not in patterns:
            patterns[kind] = Pattern(make_node(op, *map(make_node, loads)), loads)
        made[name] = ModelTensor(patterns[kind], loads, DEQUANTISED)
    parts = quantisation.parts
    every = {name: own for name, own in tensors.items() if name not in parts} | made
    return {name: every[name] for name in natural_sorted(every)}


def derived_model(
    reference: ModelReference,
    key: str,
    tensors: Mapping[str, ModelTensor],
    donor: Model,
    config: Mapping[str, Any],
) -> Model:
    """A model that a merge makes; `donor` gives what is not made of tensors."""
    has_same = tensors.keys() == donor.tensors.keys()
    names = donor.names.names if has_same else natural_sorted(tensors)
    ordered = {name: tensors[name] for name in names}
    tied = donor.still_tied(tensors)
    return Model(reference, key, ordered, config, tied, donor.checkpoint, is_stored=False)


def as_record(model: Model, record: str) -> Model:
    """The tensors of a derived model as something else: without config, side files, components."""
    checkpoint = evolve(model.checkpoint, side_files=(), components=(WHOLE,), config={})
    return evolve(model, checkpoint=checkpoint, config={}, record=record)


def stack_of(model: Model, within: str | None) -> LayerStack | None:
    """The stack of layers that slices are cut from; `within` names the module it must lie in.

    None if there is no such stack, or more than one.
    """
    stacks = [stack for stack in model.layout_in(within).stacks if in_module(stack.prefix, within)]
    return stacks[0] if len(stacks) == 1 else None


def in_module(name: str, module: str | None) -> bool:
    """Whether a tensor lies in a module: the module's name is among the parts of its name.

    None stands for the whole model.
    """
    return module is None or f".{module}." in f".{name.replace('/', '.')}"
