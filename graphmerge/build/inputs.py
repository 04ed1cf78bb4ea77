"""The tensors of the models that an output tensor is made of, and what they must be for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from graphmerge.errors import CheckpointError, Problem
from graphmerge.graph import Node, make_node
from graphmerge.ops.sources import LoadTensor, RequireIdentical
from graphmerge.spec import DType

if TYPE_CHECKING:
    from graphmerge.build.matching import Match
    from graphmerge.build.models import ModelTensor

_SHAPE_HINT = (
    "only models of one architecture and size can be merged; of other sizes of vocabulary, those "
    "whose embedding is called like one, has vocab_size rows and is no part of another component"
)


def inputs_of(match: Match, *, only: int | None = None) -> list[ModelTensor]:
    """The tensors of a match: all, or that of one source.

    Raises:
        CheckpointError: a model does not have its tensor.
    """
    pairs = list(zip(match.place.models, match.names, strict=True))
    if only is not None:
        pairs = [pairs[only]]
    found = [model.find(name) for model, name in pairs]
    if None not in found:
        return cast("list[ModelTensor]", found)
    raise CheckpointError(
        *(
            Problem(
                f"{model.label} has no tensor {name}",
                f"tensor {match.name}",
                hint="every model that takes part must have it",
            )
            for model, name in pairs
            if model.find(name) is None
        )
    )


def require_one_shape(match: Match, tensors: list[ModelTensor]) -> None:
    """Check that all tensors of a match have one shape.

    Raises:
        CheckpointError: they do not.
    """
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = ", ".join(
            f"{model.label} {list(tensor.shape)}"
            for model, tensor in zip(match.place.models, tensors, strict=True)
        )
        raise CheckpointError(
            Problem("shapes differ", f"tensor {match.name}", shapes, "one shape", _SHAPE_HINT)
        )


def require_mergeable(match: Match, tensors: list[ModelTensor], *, is_cast: bool) -> None:
    """Check that arithmetic has a meaning for all tensors of a match, whether cast or not.

    Raises:
        CheckpointError: it has none for the dtype of one, or for integers beside other dtypes.
    """
    dtypes = [tensor.stored for tensor in tensors]
    for model, name, tensor in zip(match.place.models, match.names, tensors, strict=True):
        dtype = tensor.stored
        if not (dtype.is_mergeable_float or dtype.is_integer):
            what = f"{model.label} is quantised; its numbers cannot be merged as they are"
            hint = "dequantise the model first"
            if dtype is DType.C64:
                what = f"{model.label} has complex numbers, which are not supported"
                hint = "store real and imaginary parts as tensors of their own"
            files = (leaf.entry.file for leaf in tensor.leaves if isinstance(leaf, LoadTensor))
            where = ", ".join((*map(str, files), f"tensor {name}"))
            raise CheckpointError(Problem(what, where, dtype.value, "F16, BF16, F32 or F64", hint))
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


def copied(match: Match, inputs: list[ModelTensor]) -> tuple[Node, DType, str]:
    """Node and stored dtype of a tensor that is copied, and the reason for copying.

    Raises:
        CheckpointError: dtypes of integers differ.
    """
    first = inputs[0]
    if len(inputs) == 1:
        reason = f"{first.stored.value} tensor, the only input"
        return first.value.node, first.stored, reason
    if len({tensor.stored for tensor in inputs}) > 1:
        got = ", ".join(tensor.stored.value for tensor in inputs)
        raise CheckpointError(
            Problem("integer dtypes differ", f"tensor {match.name}", got, "one dtype", "set dtype:")
        )
    nodes = (tensor.value.node for tensor in inputs)
    node = make_node(RequireIdentical(match.name), *nodes)
    return node, first.stored, "integer tensor, equal in all models"


def promoted(dtypes: list[DType]) -> DType:
    """The smallest dtype that holds every value of all: bf16 with fp16 gives fp32."""
    distinct = set(dtypes)
    if len(distinct) == 1:
        return dtypes[0]
    return DType.F64 if DType.F64 in distinct else DType.F32
