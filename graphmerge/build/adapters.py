"""A model with an adapter: its weights with low-rank products added, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from graphmerge.build.models import Model, ModelTensor, open_model
from graphmerge.checkpoint.adapter_config import is_saved
from graphmerge.checkpoint.names import natural_sorted
from graphmerge.checkpoint.side_files import is_tokenizer_file
from graphmerge.checkpoint.transposed import is_stored_transposed
from graphmerge.checkpoint.vocabulary import find_embeddings, untied
from graphmerge.errors import CheckpointError, Problem, shortened
from graphmerge.graph import Op, Pattern, make_node
from graphmerge.ops.arithmetic import WeightedSum, in_dtype
from graphmerge.ops.low_rank import AddLowRank, product_shape
from graphmerge.ops.sources import LoadTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from pathlib import Path

    from graphmerge.checkpoint.adapter import Adapter, Factors
    from graphmerge.checkpoint.values import Checkpoint, TensorEntry
    from graphmerge.graph import Node
    from graphmerge.recipe.values import ModelReference

_SHOWN = 20
"""Problems that one message lists; the rest are counted."""


def adapted_model(reference: ModelReference, base: Checkpoint, adapter: Adapter) -> Model:
    """A stored model with an adapter added to it, as PEFT's merge_and_unload does.

    Args:
        reference: As the recipe refers to both.
        base: The model.
        adapter: The adapter.

    Raises:
        CheckpointError: the adapter does not fit the model; holds every reason.
    """
    model = open_model(reference, base)
    adding = _Adding(model, adapter)
    for module, factors in adapter.factors.items():
        adding.add_factors(module, factors)
    if adding.problems:
        raise CheckpointError(*shortened(adding.problems, most=_SHOWN))
    tied = model.still_tied(adding.tensors)
    return evolve(
        model,
        tensors={name: adding.tensors[name] for name in natural_sorted(adding.tensors)},
        config=model.config if tied == model.tied else untied(model.config),
        tied=tied,
        checkpoint=evolve(base, side_files=_side_files(base, adapter.checkpoint)),
        adapter=adapter.checkpoint,
    )


class _Adding:
    """A model's tensors as an adapter changes them one after the other, and what does not fit."""

    def __init__(self, model: Model, adapter: Adapter) -> None:
        self.problems: list[Problem] = []
        self._model = model
        self._adapter = adapter
        self._where = str(adapter.checkpoint.path)
        self._vocabulary = find_embeddings(model.checkpoint)
        self._patterns: dict[Hashable, Pattern] = {}
        self._renamed = _renaming(
            model.tensors, (*adapter.whole, *(f"{name}.weight" for name in adapter.factors))
        )
        self.tensors = dict(model.tensors)
        for name, entry in self._whole().items():
            self._replace(name, entry)

    def _whole(self) -> dict[str, TensorEntry]:
        """The adapter's whole tensors; of a head that stays the embedding, for the embedding.

        PEFT loads both into one parameter, the head's last.
        """
        whole = {self._renamed(name): entry for name, entry in self._adapter.whole.items()}
        if self._adapter.config.keeps_tied:
            for head, embedding in self._model.tied.items():
                if head in whole and embedding in whole:
                    whole[embedding] = whole.pop(head)
        return whole

    def _replace(self, name: str, entry: TensorEntry) -> None:
        """A tensor that the adapter has whole; new ones, of new heads, keep their dtype."""
        known = self._model.tensors.get(name)
        if known is None and not is_saved(self._adapter.config.saved_modules, name):
            self._refuse_unknown(name, entry.name)
            return
        if known is not None and not self._can_replace(name, known, entry):
            got = f"{list(entry.spec.shape)} for {list(known.shape)} of {name}"
            what = "the adapter does not fit the model"
            self.problems.append(Problem(what, self._place(entry), got))
            return
        load = LoadTensor(self._model.label, entry)
        pattern = Pattern(make_node(load), (load,))
        stored = known.stored if known else entry.spec.dtype
        self.tensors[name] = ModelTensor(pattern, (load,), stored)

    def _can_replace(self, name: str, known: ModelTensor, entry: TensorEntry) -> bool:
        """Whether shapes agree; a vocabulary may have grown."""
        shape = entry.spec.shape
        is_resized = known.shape[1:] == shape[1:] and bool(shape)
        return known.shape == shape or (is_resized and name in self._vocabulary)

    def add_factors(self, module: str, factors: Factors) -> None:
        """Add the product of a module's factors to its weight, and what belongs to its bias."""
        name = self._renamed(f"{module}.weight")
        weight = self.tensors.get(name)
        if weight is None:
            self._refuse_unknown(name, factors.a.name)
            return
        is_transposed = self._is_transposed(name, weight, factors)
        if is_transposed is None:
            self.problems.append(_misfit(self._place(factors.a), name, weight, factors))
            return
        scale = self._adapter.config.scale_of(module)
        op = AddLowRank(scale, is_transposed)
        self.tensors[name] = self._made(
            ("weight", op), weight, (factors.a, factors.b), lambda *nodes: make_node(op, *nodes)
        )
        if factors.bias is not None:
            self._add_bias(self._renamed(f"{module}.bias"), factors.bias, scale)

    def _add_bias(self, name: str, entry: TensorEntry, scale: float) -> None:
        bias = self.tensors.get(name)
        if bias is None:
            self._refuse_unknown(name, entry.name)
        elif bias.shape != entry.spec.shape:
            got = f"{list(entry.spec.shape)} for {list(bias.shape)} of {name}"
            what = "the adapter does not fit the model"
            self.problems.append(Problem(what, self._place(entry), got))
        else:
            self.tensors[name] = self._made(
                ("bias", scale), bias, (entry,), lambda *nodes: _scaled_sum(scale, *nodes)
            )

    def _made(
        self,
        kind: Hashable,
        first: ModelTensor,
        entries: Iterable[TensorEntry],
        make: Callable[..., Node],
    ) -> ModelTensor:
        """What is made of a tensor and stored ones; tensors that are made alike share a pattern."""
        loads = tuple(LoadTensor(self._model.label, entry) for entry in entries)
        key = (kind, first.pattern, tuple(load.entry.spec for load in loads))
        leaves: tuple[Op, ...] = (*first.leaves, *loads)
        pattern = self._patterns.get(key)
        if pattern is None:
            root = make(first.value.node, *map(make_node, loads))
            pattern = self._patterns[key] = Pattern(root, leaves)
        return ModelTensor(pattern, leaves, first.stored)

    def _is_transposed(self, name: str, weight: ModelTensor, factors: Factors) -> bool | None:
        """Whether the product is to be transposed; None where it does not fit either way.

        The shape says it, or for square weights the kind of model. Only where that is not known
        does the adapter's config: of several kinds of modules it tells what the last one was.
        """
        if not weight.stored.is_mergeable_float:
            return None
        specs = (factors.a.spec, factors.b.spec)
        fits = [
            way for way in (False, True) if product_shape(*specs, is_transposed=way) == weight.shape
        ]
        if factors.is_embedding:
            return True if True in fits else None
        if len(fits) > 1:
            known = is_stored_transposed(name.removesuffix(".weight"), self._model.config)
            return self._adapter.config.is_transposed if known is None else known
        return fits[0] if fits else None

    def _refuse_unknown(self, name: str, stored: str) -> None:
        where = f"{self._where}, tensor {stored}"
        if name in self._model.tied:
            what = f"{name} is tied to {self._model.tied[name]}: adding to one would change both"
            hint = "give a model in which both are stored"
            self.problems.append(Problem(what, where, hint=hint))
        else:
            self.problems.append(Problem(f"the model has no tensor {name}", where))

    def _place(self, entry: TensorEntry) -> str:
        return f"{self._where}, tensor {entry.name}"


def _scaled_sum(scale: float, bias: Node, added: Node) -> Node:
    """The bias and what is added to it, in the dtype of the arithmetic."""
    parts = (in_dtype(bias.spec.dtype.arithmetic, node) for node in (bias, added))
    return make_node(WeightedSum((1.0, scale)), *parts)


def _misfit(where: str, name: str, weight: ModelTensor, factors: Factors) -> Problem:
    shapes = f"A {list(factors.a.spec.shape)} and B {list(factors.b.spec.shape)}"
    got = f"{shapes} for {weight.stored.value}{list(weight.shape)} of {name}"
    return Problem("the adapter does not fit the model", where, got)


def _renaming(names: Mapping[str, Any], wanted: tuple[str, ...]) -> Callable[[str], str]:
    """How adapter's names become those of the model's files, where all but their beginning agree.

    An adapter that was trained on a part of a model (of AutoModel, say) leaves out the part's name,
    or has one more than a checkpoint of the part alone.
    """
    added = [f"{name.split('.', 1)[0]}." for name in names if "." in name]
    removed = [f"{name.split('.', 1)[0]}." for name in wanted if "." in name]
    if any(name in names for name in wanted):
        return str
    for prefix in dict.fromkeys(added):
        if all(prefix + name in names for name in wanted):
            return prefix.__add__
    for prefix in dict.fromkeys(removed):
        if all(name.removeprefix(prefix) in names for name in wanted):
            return lambda name: name.removeprefix(prefix)
    return str


def _side_files(base: Checkpoint, adapter: Checkpoint) -> tuple[Path, ...]:
    """Those of the base, its tokenizer's replaced by the adapter's if it has brought one."""
    files = (file for file in adapter.side_files if file.parent == adapter.path)
    own = [file for file in files if is_tokenizer_file(file)]
    if not any(file.name.startswith(("tokenizer", "vocab")) for file in own):
        return base.side_files
    kept = [file for file in base.side_files if not is_tokenizer_file(file)]
    return tuple(sorted((*kept, *own), key=lambda file: file.name))
