"""The value of one output tensor: load, cast, merge, cast."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import evolve, field

from graphmerge.build.dependence import Dependence, dependence_of
from graphmerge.build.inputs import (
    copied,
    inputs_of,
    promoted,
    require_mergeable,
    require_one_shape,
)
from graphmerge.build.kinds import Kinds
from graphmerge.build.matching import slice_length
from graphmerge.build.models import ModelTensor
from graphmerge.build.statistics import Statistics, find_statistics, statistics_of
from graphmerge.frozen_classes import frozen
from graphmerge.graph import (
    Node,
    Pattern,
    arrangement,
    distinct,
    make_node,
    shared_pattern,
)
from graphmerge.methods.base import MergeInputs, Method, ModelInput, StatisticsRule
from graphmerge.methods.questions import Tensor
from graphmerge.ops.arithmetic import in_dtype
from graphmerge.ops.sources import StackLayer
from graphmerge.recipe.lookup import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from graphmerge.build.matching import Match, Place
    from graphmerge.graph import Alike, Op
    from graphmerge.methods.questions import Question
    from graphmerge.recipe.signature import ParameterSpec
    from graphmerge.recipe.values import Recipe, Scalar
    from graphmerge.spec import DType


@frozen(eq=False)
class Made:
    """What becomes of the tensors that are made alike."""

    pattern: Pattern
    """How they are computed, over the leaves of all inputs, each once."""
    stored: DType
    """Dtype that they will have in a file."""
    reason: str
    """Why they are copied instead of merged; empty for merged tensors."""
    parameters: Mapping[str, Scalar] | None
    """Parameters as they were looked up; None where none were needed."""


@frozen(eq=False)
class Read:
    """What an output tensor is made of."""

    kind: Hashable
    """What decides how it is made, beside what the method asks of it."""
    inputs: list[ModelTensor]
    """The tensors of the models that take part."""
    statistics: tuple[Statistics, ...]
    """Those of each of them; empty if none are wanted, or they are copied."""
    leaves: tuple[Op, ...]
    """Of these and of their statistics, each once."""
    tensors: tuple[str, ...]
    """The names that random masks in them depend on, and its own; empty without such masks."""

    @property
    def is_shared(self) -> bool:
        """Whether leaves and names are all that tells tensors of its kind apart."""
        read = _with_statistics(self.inputs, self.statistics)
        return bool(self.leaves) and all(tensor.pattern.is_shared for tensor in read)


@frozen(eq=False)
class TensorBuilder:
    """Builds the values of output tensors for one recipe, working out each kind of tensor once."""

    recipe: Recipe
    """The recipe."""
    method: Method
    """Its method."""
    seed: int
    """Seed of random masks."""
    resolved: dict[str, Mapping[str, Scalar]] = field(factory=dict)
    """Parameters as they were looked up, by output tensor."""
    _dependences: dict[Place, Dependence] = field(factory=dict, init=False)
    _kinds: Kinds[Made] = field(factory=Kinds, init=False)
    _survey: dict[str, tuple[Node, ...]] = field(factory=dict, init=False)
    _reads: dict[Match, Read] = field(factory=dict, init=False)
    _of_models: dict[Hashable, list[ModelTensor | None]] = field(factory=dict, init=False)

    def wants_survey(self, matches: Iterable[Match]) -> bool:
        """Whether the method is to look at all tensors first; asked once per set of parameters."""
        wants = self.method.wants_survey
        if self.method.survey is None or wants is None:
            return self.method.survey is not None
        kinds = {(match.place, self._dependence(match.place).of(match)): match for match in matches}
        return any(wants(self._own(match), len(match.place.models)) for match in kinds.values())

    def prepare(self, match: Match, alike: Alike | None = None) -> MergeInputs | None:
        """What the method gets for a match, for its survey; None for a tensor that is copied.

        Args:
            match: The match, which was read ahead.
            alike: The tensors that it is to be taken for.

        Raises:
            CheckpointError: shapes or dtypes do not fit.
            RecipeError: a parameter has no value for the tensor.
        """
        read = self._reads[match]
        require_one_shape(match, read.inputs)
        dtypes = [tensor.stored for tensor in read.inputs]
        if self._is_copied(dtypes):
            return None
        return evolve(self._prepare(match, read, dtypes, {})[0], alike=alike)

    def survey(self, merges: tuple[MergeInputs, ...]) -> bool:
        """Let the method look at all tensors that it merges, before any of them is built.

        Raises:
            RecipeError: a parameter has a value that is not allowed.
        """
        if self.method.survey is not None and merges:
            self._survey.update(self.method.survey(merges))
        return bool(self._survey)

    def beside(self) -> dict[str, ModelTensor]:
        """Tensors that the method makes of what its survey has found, by name.

        Raises:
            RecipeError: there is nothing to make them of.
        """
        made = self.method.beside(self._survey) if self.method.beside else {}
        return {
            name: ModelTensor(Pattern(node), (), node.spec.dtype) for name, node in made.items()
        }

    def build(self, match: Match) -> ModelTensor:
        """What becomes of a match.

        Raises:
            CheckpointError: an input is missing, or shapes or dtypes do not fit.
            RecipeError: a parameter has no value for the tensor, or a value that is not allowed.
        """
        if self.method.choose is not None:
            return self._chosen(match, self.method.choose)
        read = self._reads.pop(match, None) or self.read(match)
        made = self._kinds.find(read.kind, partial(_tensor, match))
        if made is None:
            made, asked = self._make(match, read)
            if asked is not None:
                self._kinds.add(read.kind, asked, made)
        if made.parameters is not None:
            self.resolved[match.name] = made.parameters
        pattern, leaves = made.pattern, read.leaves
        tensors = (read.tensors or (match.name,)) if pattern.tensors else ()
        own = leaves if pattern.leaves else ()
        return ModelTensor(pattern, own, made.stored, made.reason, tensors)

    def read_ahead(self, match: Match) -> Read:
        """What a match is made of, found out before it is built.

        Raises:
            CheckpointError: an input is missing.
        """
        read = self._reads[match] = self.read(match)
        return read

    def read(self, match: Match) -> Read:
        """What a match is made of.

        Raises:
            CheckpointError: an input is missing.
        """
        inputs = inputs_of(match)
        statistics = self._statistics(match, inputs)
        read = _with_statistics(inputs, statistics)
        leaves, repeats = self._leaves(match.place, read)
        named = [name for tensor in read for name in tensor.tensors]
        if named:
            named.append(match.name)
            repeats += arrangement(tuple(named))
        kind = (
            match.place,
            self._dependence(match.place).of(match),
            match.moved,
            repeats,
            *[tensor.pattern for tensor in read],
            *[tensor.stored for tensor in read],
        )
        return Read(kind, inputs, statistics, leaves, distinct(named))

    def _leaves(
        self, place: Place, inputs: list[ModelTensor]
    ) -> tuple[tuple[Op, ...], tuple[int, ...]]:
        """The leaves of all inputs, each once, and which of them are the same."""
        leaves = tuple([leaf for tensor in inputs for leaf in tensor.leaves])
        if place.has_own_files:
            return leaves, ()
        repeats = arrangement(leaves)
        return (distinct(leaves) if repeats else leaves), repeats

    def _dependence(self, place: Place) -> Dependence:
        found = self._dependences.get(place)
        if found is None:
            found = self._dependences[place] = dependence_of(self.recipe, place)
        return found

    def _make(
        self,
        match: Match,
        read: Read,
    ) -> tuple[Made, Mapping[Question, Hashable] | None]:
        """What becomes of a match, and what matches of the same key must answer for it to hold.

        None if it holds for no other.
        """
        inputs, named = read.inputs, read.tensors
        require_one_shape(match, inputs)
        dtypes = [tensor.stored for tensor in inputs]
        parameters: dict[str, Scalar] | None = None
        asked: Mapping[Question, Hashable] = {}
        is_own = False
        reason = ""
        if self._is_copied(dtypes):
            node, stored, reason = copied(match, inputs)
            is_own = True
        elif self.method.copies_lone_source and len(inputs) == 1:
            node = self._loaded(match, 0, inputs[0])
            stored = self.recipe.out_dtype or self.recipe.dtype or inputs[0].stored
            reason = "the slice has a single source"
        else:
            parameters = {}
            merge, stored = self._prepare(match, read, dtypes, parameters)
            node = self.method.build(merge)
            stored = node.spec.dtype if self.method.record else stored
            asked, is_own = merge.asked, bool(merge.names_read)
            named = named or tuple(merge.names_masked)
        if match.moved and match.moved[0] != match.moved[1]:
            node = make_node(StackLayer(*match.moved), node)
        pattern = None if is_own else shared_pattern(node, read.leaves, named)
        made = Made(pattern or Pattern(node), stored, reason, parameters)
        return made, None if pattern is None else asked

    def _statistics(self, match: Match, inputs: list[ModelTensor]) -> tuple[Statistics, ...]:
        """The statistics of every input; nothing if none are wanted, or the tensor is copied.

        They are checked once for each kind of inputs and statistics.
        """
        rule = self.method.statistics
        if rule is StatisticsRule.NONE or self._is_copied([tensor.stored for tensor in inputs]):
            return ()
        found = find_statistics(match)
        kind = (match.place, *[one and (one.pattern, one.stored) for one in (*inputs, *found)])
        of_models = self._of_models.get(kind)
        if of_models is None:
            given = statistics_of(match, rule, inputs)
            self._of_models[kind] = [one.of_model for one in given]
            return given
        return tuple(map(Statistics, found, of_models))

    def _is_copied(self, dtypes: list[DType]) -> bool:
        """Whether arithmetic has no meaning: uncast integers, or a lone packed tensor."""
        if all(dtype.is_integer for dtype in dtypes):
            return self.recipe.dtype is None
        return len(dtypes) == 1 and not dtypes[0].is_mergeable_float

    def _chosen(self, match: Match, choose: Callable[[Mapping[str, Scalar]], int]) -> ModelTensor:
        """One of the inputs as it is."""
        index = choose(self._own(match))
        (tensor,) = inputs_of(match, only=index)
        model = match.place.models[index]
        reason = f"taken from {model.label}" if model.is_stored else tensor.reason
        return evolve(tensor, reason=reason)

    def _loaded(self, match: Match, index: int, tensor: ModelTensor) -> Node:
        """A stored tensor in the dtype that the recipe sets; a computed one as it was computed."""
        given, node = self.recipe.dtype, tensor.value.node
        is_stored = match.place.models[index].is_stored and node.spec.dtype is tensor.stored
        is_cast = given and (is_stored or tensor.stored.is_integer)
        return in_dtype(given, node) if given and is_cast else node

    def _prepare(
        self,
        match: Match,
        read: Read,
        dtypes: list[DType],
        parameters: dict[str, Scalar],
    ) -> tuple[MergeInputs, DType]:
        """What the method gets, and the dtype of the result; looked up values go to parameters."""
        require_mergeable(match, read.inputs, is_cast=self.recipe.dtype is not None)
        stored = self.recipe.dtype or promoted(dtypes)
        loaded = [self._loaded(match, index, tensor) for index, tensor in enumerate(read.inputs)]
        nodes = [in_dtype(stored.arithmetic, node) for node in loaded]
        given = read.statistics or (Statistics(),) * len(read.inputs)
        statistics = [one.nodes(stored.arithmetic) for one in given]
        merge = self._inputs(match, nodes, statistics, parameters)
        return merge, self.recipe.out_dtype or stored

    def _own(self, match: Match) -> dict[str, Scalar]:
        """The method's own parameters for a match."""
        own = (spec for spec in self.method.parameters if not spec.per_model)
        return {spec.name: self._value(match, spec, None) for spec in own}

    def _value(self, match: Match, spec: ParameterSpec, source: int | None) -> Scalar:
        """A parameter for a tensor: of one source, by its number, or of the method."""
        place = match.place
        outer = (place.part.parameters, place.module.parameters, self.recipe.parameters)
        is_base = source is not None and place.sources[source] not in place.part.sources
        return evaluate(
            spec,
            scopes=outer if source is None else (place.sources[source].parameters, *outer),
            tensor_name=match.name if source is None else match.names[source],
            t=match.fraction,
            layer=match.layer,
            method=self.method.name,
            model="" if source is None else place.models[source].label,
            hint=self._hint(spec, is_base=is_base),
        )

    def _hint(self, spec: ParameterSpec, *, is_base: bool) -> str:
        """Where a parameter can be given, where that is not `parameters:`."""
        if is_base:
            return (
                f"the base model is merged as one more: list it with a {spec.name}, give one for "
                "all models, or leave base_model out"
            )
        key = f"{spec.name}s" if spec.per_model else spec.name
        return f"give it in the entry, as {key}:" if self.recipe.is_operation else ""

    def _inputs(
        self,
        match: Match,
        nodes: list[Node],
        statistics: list[tuple[Node | None, Node | None]],
        parameters: dict[str, Scalar],
    ) -> MergeInputs:
        """What the method gets, of tensors and statistics in the dtype of the arithmetic."""
        place = match.place
        specs = {spec.name: spec for spec in self.method.parameters}

        def look_up(source: int, label: str, name: str) -> Scalar:
            found = self._value(match, specs[name], source)
            parameters[f"{name} of {label}"] = found
            return found

        labels = _numbered(place, [model.label for model in place.models])
        keys = _numbered(place, [model.key for model in place.models])
        models = tuple(
            ModelInput(label, key, node, partial(look_up, source, label), *given)
            for source, (label, key, node, given) in enumerate(
                zip(labels, keys, nodes, statistics, strict=True)
            )
        )
        pairs = zip(models, place.sources, strict=True)
        base = next((model for model, source in pairs if source.model == place.base), None)
        own = self._own(match)
        parameters.update(own)
        return MergeInputs(_tensor(match), models, base, own, self.seed, self._survey)


def _tensor(match: Match) -> Tensor:
    """The output tensor, as methods may ask about it."""
    if match.moved is None:
        return Tensor(match.name, *match.layer)
    layers = sum(map(slice_length, match.place.module.slices))
    return Tensor(match.name, match.moved[1], layers)


def _with_statistics(
    inputs: list[ModelTensor], statistics: tuple[Statistics, ...]
) -> list[ModelTensor]:
    """Tensors of models, then those of their statistics."""
    return [*inputs, *[tensor for given in statistics for tensor in given.tensors]]


def _numbered(place: Place, names: list[str]) -> list[str]:
    """A name for each source, numbered where a model takes part more than once."""
    before = [place.models[:index].count(model) for index, model in enumerate(place.models)]
    return [
        f"{name}#{count + 1}" if count else name for name, count in zip(names, before, strict=True)
    ]
