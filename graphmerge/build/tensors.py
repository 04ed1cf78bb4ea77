"""The node of one output tensor: load, cast, merge, cast."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from graphmerge.build.models import ModelTensor
from graphmerge.errors import CheckpointError, Problem
from graphmerge.graph import Node, make_node
from graphmerge.methods.base import MergeInputs, Method, ModelInput
from graphmerge.ops import Cast, RequireIdentical, StackLayer
from graphmerge.recipe.lookup import evaluate
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graphmerge.build.matching import Match, SourceTensor
    from graphmerge.recipe.signature import ParameterSpec
    from graphmerge.recipe.values import Recipe, Scalar


@frozen(eq=False)
class TensorBuilder:
    """Builds the nodes of output tensors for one recipe."""

    recipe: Recipe
    """The recipe."""
    method: Method
    """Its method."""
    seed: int
    """Seed of random masks."""
    resolved: dict[str, dict[str, Scalar]] = field(factory=dict)
    """Parameters as they were looked up, by output tensor."""

    def build(self, match: Match) -> ModelTensor:
        """What becomes of a match.

        Raises:
            CheckpointError: an input is missing, or shapes or dtypes do not fit.
            RecipeError: a parameter has no value for the tensor, or a value that is not allowed.
        """
        if self.method.choose is not None:
            return self._chosen(match, self.method.choose)
        inputs = _inputs_of(match)
        dtypes = [tensor.stored for tensor in inputs]
        if self._is_copied(dtypes):
            made = _copy(match, inputs)
        elif self.method.copies_lone_source and len(inputs) == 1:
            made = self._converted(match, inputs[0])
        else:
            made = self._merge(match, inputs, dtypes)
        if match.moved and match.moved[0] != match.moved[1]:
            made = evolve(made, node=make_node(StackLayer(*match.moved), made.node))
        return made

    def _is_copied(self, dtypes: list[DType]) -> bool:
        """Whether arithmetic has no meaning: uncast integers, or a lone packed tensor."""
        if all(dtype.is_integer for dtype in dtypes):
            return self.recipe.dtype is None
        return len(dtypes) == 1 and not dtypes[0].is_mergeable_float

    def _chosen(self, match: Match, choose: Callable[[Mapping[str, Scalar]], int]) -> ModelTensor:
        """One of the inputs as it is."""
        own = {spec.name: self._value(match, spec, None) for spec in self.method.parameters}
        source = match.sources[choose(own)]
        (tensor,) = _inputs_of(evolve(match, sources=(source,)))
        reason = f"taken from {source.model.label}" if source.model.is_stored else tensor.reason
        return evolve(tensor, reason=reason)

    def _converted(self, match: Match, tensor: ModelTensor) -> ModelTensor:
        """A tensor that is copied, in the dtypes that the recipe sets for all tensors."""
        given = self.recipe.dtype
        node = self._loaded(match.sources[0], tensor)
        stored = self.recipe.out_dtype or given or tensor.stored
        return ModelTensor(node, stored, "the slice has a single source")

    def _loaded(self, source: SourceTensor, tensor: ModelTensor) -> Node:
        """A stored tensor in the dtype that the recipe sets; a derived one as it was computed."""
        given = self.recipe.dtype
        is_cast = given and (source.model.is_stored or tensor.stored.is_integer)
        return make_node(Cast(given), tensor.node) if given and is_cast else tensor.node

    def _merge(self, match: Match, inputs: list[ModelTensor], dtypes: list[DType]) -> ModelTensor:
        _require_mergeable(match, dtypes, is_cast=self.recipe.dtype is not None)
        stored = self.recipe.dtype or promoted(dtypes)
        compute = DType.F64 if stored is DType.F64 else DType.F32
        loaded = [
            self._loaded(source, tensor)
            for source, tensor in zip(match.sources, inputs, strict=True)
        ]
        nodes = [
            node if node.spec.dtype is compute else make_node(Cast(compute), node)
            for node in loaded
        ]
        merged = self.method.build(self._inputs(match, nodes))
        return ModelTensor(merged, self.recipe.out_dtype or stored)

    def _value(self, match: Match, spec: ParameterSpec, source: SourceTensor | None) -> Scalar:
        """A parameter for a tensor: of one source, or of the method."""
        outer = (match.part.parameters, match.module.parameters, self.recipe.parameters)
        return evaluate(
            spec,
            scopes=(source.source.parameters, *outer) if source else outer,
            tensor_name=source.name if source else match.name,
            t=match.fraction,
            layer=match.layer,
            method=self.method.name,
        )

    def _inputs(self, match: Match, nodes: list[Node]) -> MergeInputs:
        specs = {spec.name: spec for spec in self.method.parameters}

        def look_up(source: SourceTensor, label: str, name: str) -> Scalar:
            found = self._value(match, specs[name], source)
            self.resolved[match.name][f"{name} of {label}"] = found
            return found

        models = tuple(
            ModelInput(label, key, node, partial(look_up, source, label))
            for label, key, node, source in zip(
                _numbered(match, [source.model.label for source in match.sources]),
                _numbered(match, [source.model.key for source in match.sources]),
                nodes,
                match.sources,
                strict=True,
            )
        )
        base = next(
            (
                model
                for model, source in zip(models, match.sources, strict=True)
                if source.source.model == match.base
            ),
            None,
        )
        own = {
            spec.name: self._value(match, spec, None)
            for spec in specs.values()
            if not spec.per_model
        }
        self.resolved[match.name] = dict(own)
        return MergeInputs(match.name, models, base, own, self.seed)


def promoted(dtypes: list[DType]) -> DType:
    """The smallest dtype that holds every value of all: bf16 with fp16 gives fp32."""
    distinct = set(dtypes)
    if len(distinct) == 1:
        return dtypes[0]
    return DType.F64 if DType.F64 in distinct else DType.F32


def _numbered(match: Match, names: list[str]) -> list[str]:
    """A name for each source, numbered where a model takes part more than once."""
    models = [source.model for source in match.sources]
    before = [models[:index].count(model) for index, model in enumerate(models)]
    return [
        f"{name}#{count + 1}" if count else name for name, count in zip(names, before, strict=True)
    ]


def _inputs_of(match: Match) -> list[ModelTensor]:
    """The tensors of a match, all of one shape."""
    found = [source.model.find(source.name) for source in match.sources]
    missing = [
        Problem(
            f"{source.model.label} has no tensor {source.name}",
            f"tensor {match.name}",
            hint="every model that takes part must have it",
        )
        for source, tensor in zip(match.sources, found, strict=True)
        if tensor is None
    ]
    if missing:
        raise CheckpointError(*missing)
    tensors = [tensor for tensor in found if tensor is not None]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = ", ".join(
            f"{source.model.label} {list(tensor.shape)}"
            for source, tensor in zip(match.sources, tensors, strict=True)
        )
        raise CheckpointError(
            Problem(
                "shapes differ", f"tensor {match.name}", shapes, "one shape", _shape_hint(tensors)
            )
        )
    return tensors


def _shape_hint(tensors: list[ModelTensor]) -> str:
    trailing = {tensor.shape[1:] for tensor in tensors}
    if len(trailing) == 1 and len(next(iter(trailing))) == 1:
        return (
            "if this is an embedding, the vocabularies differ; combining them is not supported yet"
        )
    return "only models of one architecture and size can be merged"


def _require_mergeable(match: Match, dtypes: list[DType], *, is_cast: bool) -> None:
    for source, dtype in zip(match.sources, dtypes, strict=True):
        if not (dtype.is_mergeable_float or dtype.is_integer):
            raise CheckpointError(
                Problem(
                    f"{source.model.label} is quantised; its numbers cannot be merged as they are",
                    f"tensor {source.name}",
                    dtype.value,
                    "F16, BF16, F32 or F64",
                    "dequantise the model first",
                )
            )
    if not is_cast and any(dtype.is_integer for dtype in dtypes) and len(set(dtypes)) > 1:
        got = ", ".join(dtype.value for dtype in dtypes)
        raise CheckpointError(
            Problem(
                "integer and other dtypes mixed",
                f"tensor {match.name}",
                got,
                "one dtype",
                "set dtype:",
            )
        )


def _copy(match: Match, inputs: list[ModelTensor]) -> ModelTensor:
    first = inputs[0]
    if len(inputs) == 1:
        return evolve(first, reason=f"{first.stored.value} tensor, the only input")
    if len({tensor.stored for tensor in inputs}) > 1:
        got = ", ".join(tensor.stored.value for tensor in inputs)
        raise CheckpointError(
            Problem("integer dtypes differ", f"tensor {match.name}", got, "one dtype", "set dtype:")
        )
    node = make_node(RequireIdentical(match.name), *(tensor.node for tensor in inputs))
    return ModelTensor(node, first.stored, "integer tensor, equal in all models")
