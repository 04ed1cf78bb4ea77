"""The node of one output tensor: load, cast, merge, cast."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import field, frozen

from graphmerge.errors import CheckpointError, Problem
from graphmerge.graph import Node, Output, make_node
from graphmerge.methods.base import MergeInputs, Method, ModelInput
from graphmerge.ops import Cast, LoadTensor, RequireIdentical, StackLayer
from graphmerge.recipe.lookup import evaluate
from graphmerge.spec import DType

if TYPE_CHECKING:
    from graphmerge.build.matching import Match, SourceTensor
    from graphmerge.checkpoint.values import TensorEntry
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

    def build(self, match: Match) -> Output:
        """The output tensor of a match.

        Raises:
            CheckpointError: an input is missing, or shapes or dtypes do not fit.
            RecipeError: a parameter has no value for the tensor, or a value that is not allowed.
        """
        entries = _entries(match)
        loads = [
            make_node(LoadTensor(source.model.label, entry))
            for source, entry in zip(match.sources, entries, strict=True)
        ]
        dtypes = [entry.spec.dtype for entry in entries]
        reason = ""
        if self._is_copied(dtypes):
            node, reason = _copy(match, loads)
        elif self.method.copies_lone_source and len(loads) == 1:
            node, reason = self._converted(loads[0]), "the slice has a single source"
        else:
            node = self._merge(match, loads, dtypes)
        if match.moved and match.moved[0] != match.moved[1]:
            node = make_node(StackLayer(*match.moved), node)
        return Output(match.name, node, reason)

    def _is_copied(self, dtypes: list[DType]) -> bool:
        """Whether arithmetic has no meaning: uncast integers, or a lone packed tensor."""
        if len(dtypes) == 1 and not dtypes[0].is_mergeable_float:
            return True
        return self.recipe.dtype is None and all(dtype.is_integer for dtype in dtypes)

    def _converted(self, load: Node) -> Node:
        """A tensor that is copied, in the dtypes that the recipe sets for all tensors."""
        for dtype in (self.recipe.dtype, self.recipe.out_dtype):
            load = make_node(Cast(dtype), load) if dtype else load
        return load

    def _merge(self, match: Match, loads: list[Node], dtypes: list[DType]) -> Node:
        _require_mergeable(match, dtypes)
        given = self.recipe.dtype
        stored = given or promoted(dtypes)
        compute = DType.F64 if stored is DType.F64 else DType.F32
        nodes = [make_node(Cast(given), load) if given else load for load in loads]
        nodes = [make_node(Cast(compute), node) for node in nodes]
        merged = self.method.build(self._inputs(match, nodes))
        return make_node(Cast(self.recipe.out_dtype or stored), merged)

    def _inputs(self, match: Match, nodes: list[Node]) -> MergeInputs:
        outer = (match.part.parameters, match.module.parameters, self.recipe.parameters)
        specs = {spec.name: spec for spec in self.method.parameters}

        def value(spec: ParameterSpec, source: SourceTensor | None) -> Scalar:
            return evaluate(
                spec,
                scopes=(source.source.parameters, *outer) if source else outer,
                tensor_name=source.name if source else match.name,
                t=match.fraction,
                method=self.method.name,
            )

        def look_up(source: SourceTensor, label: str, name: str) -> Scalar:
            found = value(specs[name], source)
            self.resolved[match.name][f"{name} of {label}"] = found
            return found

        models = tuple(
            ModelInput(label, node, partial(look_up, source, label))
            for label, node, source in zip(_labels(match), nodes, match.sources, strict=True)
        )
        base = next(
            (
                model
                for model, source in zip(models, match.sources, strict=True)
                if source.source.model == match.base
            ),
            None,
        )
        own = {spec.name: value(spec, None) for spec in specs.values() if not spec.per_model}
        self.resolved[match.name] = dict(own)
        return MergeInputs(match.name, models, base, own, self.seed)


def promoted(dtypes: list[DType]) -> DType:
    """The smallest dtype that holds every value of all: bf16 with fp16 gives fp32."""
    distinct = set(dtypes)
    if len(distinct) == 1:
        return dtypes[0]
    return DType.F64 if DType.F64 in distinct else DType.F32


def _labels(match: Match) -> list[str]:
    """The models' labels, numbered where one takes part more than once."""
    labels: list[str] = []
    for source in match.sources:
        seen = sum(other.model is source.model for other in match.sources[: len(labels)])
        labels.append(source.model.label + (f"#{seen + 1}" if seen else ""))
    return labels


def _entries(match: Match) -> list[TensorEntry]:
    """The stored tensors of a match, all of one shape."""
    found = [source.model.find(source.name) for source in match.sources]
    missing = [
        Problem(
            f"{source.model.label} has no tensor {source.name}",
            f"tensor {match.name}",
            hint="every model that takes part must have it",
        )
        for source, entry in zip(match.sources, found, strict=True)
        if entry is None
    ]
    if missing:
        raise CheckpointError(*missing)
    entries = [entry for entry in found if entry is not None]
    if len({entry.spec.shape for entry in entries}) > 1:
        shapes = ", ".join(
            f"{source.model.label} {list(entry.spec.shape)}"
            for source, entry in zip(match.sources, entries, strict=True)
        )
        raise CheckpointError(
            Problem(
                "shapes differ", f"tensor {match.name}", shapes, "one shape", _shape_hint(entries)
            )
        )
    return entries


def _shape_hint(entries: list[TensorEntry]) -> str:
    trailing = {entry.spec.shape[1:] for entry in entries}
    if len(trailing) == 1 and len(next(iter(trailing))) == 1:
        return (
            "if this is an embedding, the vocabularies differ; combining them is not supported yet"
        )
    return "only models of one architecture and size can be merged"


def _require_mergeable(match: Match, dtypes: list[DType]) -> None:
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
    if any(dtype.is_integer for dtype in dtypes) and len(set(dtypes)) > 1:
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


def _copy(match: Match, loads: list[Node]) -> tuple[Node, str]:
    if len(loads) == 1:
        return loads[0], f"{loads[0].spec.dtype.value} tensor, the only input"
    if len({load.spec.dtype for load in loads}) > 1:
        got = ", ".join(load.spec.dtype.value for load in loads)
        raise CheckpointError(
            Problem("integer dtypes differ", f"tensor {match.name}", got, "one dtype", "set dtype:")
        )
    return make_node(RequireIdentical(match.name), *loads), "integer tensor, equal in all models"
