"""What a merge method is: a description, its parameters, and a function that builds a subgraph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, cast

from attrs import field

from graphmerge.frozen_classes import frozen
from graphmerge.graph import Alike, Node
from graphmerge.methods.questions import HasInName, InLayer, Question, Tensor
from graphmerge.ops.sparsify import MaskKey
from graphmerge.recipe.signature import MethodSignature, ParameterSpec

if TYPE_CHECKING:
    from graphmerge.recipe.values import Scalar


class BaseRule(Enum):
    """What a method does with a base model."""

    NONE = "no"
    """Takes none; a base that is given is one more input."""
    OPTIONAL = "optional"
    """Works on task vectors where one is given, else on the models themselves."""
    REQUIRED = "yes"
    """Cannot do without: task vectors are taken against it, or it is one end of an
    interpolation."""


RESCALERS = "emr.rescalers"
"""Tensor of shape (tasks,) beside the masks of tasks: what the task vector of each is multiplied
by."""


class StatisticsRule(Enum):
    """What a method wants to know of each model beside weights, from checkpoints of their own."""

    NONE = "none"
    """Nothing."""
    ENTRIES = "a number for each entry"
    """For every tensor that is merged one of its shape, by its name."""
    GRAMS = "a Gram matrix for each linear layer"
    """For a weight of shape (out, in) the matrix X^T X of the layer's inputs X, of shape (in, in),
    by the name of the weight. Tensors for which no model has one go without."""
    MASKS = "masks that emr_masks has written"
    """For every tensor that is merged one of its shape, by its name, of unsigned integers: a bit
    for each task; and for all tensors together the factors of the tasks. Of the base there are
    none."""

    @property
    def of_base(self) -> bool:
        """Whether a base model has some as well."""
        return self in (StatisticsRule.ENTRIES, StatisticsRule.GRAMS)

    @property
    def of_model(self) -> str:
        """Name of the tensor that is about all tensors of the model; empty where there is none."""
        return RESCALERS if self is StatisticsRule.MASKS else ""

    def shape_for(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Shape of the statistics of a tensor of this shape; None where it can have none."""
        if self is StatisticsRule.GRAMS:
            return (shape[1], shape[1]) if len(shape) == 2 else None
        return shape


class Group(Enum):
    """What kind of method it is: how a list of methods is ordered."""

    AVERAGES = "averages"
    """Combinations of the models themselves, entry by entry."""
    INTERPOLATION = "interpolation"
    """Points between models as vectors."""
    TASK_VECTORS = "task vectors"
    """What fine-tunes have changed, thinned, combined, and added to their base."""
    SUBSPACES = "subspaces"
    """Task vectors of matrices by their singular vectors."""
    STATISTICS = "with statistics of data"
    """Averages weighted by what data say about the models."""
    LAYERS = "layers"
    """Layers copied or stacked."""
    OTHERS = "of plug-ins"
    """What does not say."""


Survey: TypeAlias = Mapping[str, tuple[Node, ...]]
"""Nodes that are shared by all tensors of a merge, by a name that only the method knows."""


@frozen(eq=False)
class ModelInput:
    """One model's tensor, as a method sees it."""

    label: str
    """The model as messages name it; unique within the merge."""
    key: str
    """What random masks depend on; unique within the merge."""
    node: Node
    """Its tensor, in the dtype of the arithmetic."""
    look_up: Callable[[str], Scalar]
    """Value of one of the model's parameters for this tensor."""
    statistics: Node | None = None
    """Statistics of the tensor, in the dtype of the arithmetic if they are floats, for a method
    that wants some; None where the tensor has none."""
    of_model: Node | None = None
    """The statistics of the whole model in their stored dtype, for a method that wants some."""

    def number(self, parameter: str) -> float:
        """A numeric parameter. Raises RecipeError where the recipe has no value for this tensor."""
        return cast("float", self.look_up(parameter))


@frozen(eq=False)
class MergeInputs:
    """All that a method gets for one output tensor."""

    _tensor: Tensor
    models: tuple[ModelInput, ...]
    """Every input in recipe order; the base among them."""
    base: ModelInput | None
    """The base, where the recipe has one: the same object as in `models`."""
    parameters: Mapping[str, Scalar]
    """The method's own parameters for this tensor."""
    seed: int
    """Seed of random masks."""
    survey: Survey = field(factory=dict)
    """What the method has found out about all tensors of the merge; empty while it does."""
    alike: Alike | None = None
    """For a survey: the tensors that it is to take this one for. None if this one is all."""
    asked: dict[Question, Hashable] = field(factory=dict, init=False, repr=False)
    """What the method has asked of the tensor, in order, with the answers: what it builds holds for
    every tensor with the same shapes, dtypes, parameters and answers."""
    names_read: set[str] = field(factory=set, init=False, repr=False)
    """The name of the tensor, if the method has asked for it: what it builds holds for no other."""
    names_masked: set[str] = field(factory=set, init=False, repr=False)
    """The name of the tensor, if the method has asked for the key of a mask: what it builds then
    holds for other tensors with their names in the place of this one's."""

    @property
    def count(self) -> int:
        """How many tensors a survey is to take this one for."""
        return len(self.alike.members) if self.alike else 1

    @property
    def tensor(self) -> str:
        """Name of the output tensor."""
        self.names_read.add(self._tensor.name)
        return self._tensor.name

    def has_in_name(self, *parts: str) -> bool:
        """Whether one of these is part of the output tensor's name."""
        return bool(self._ask(HasInName(parts)))

    def mask_key(self, model: ModelInput) -> MaskKey:
        """What the random mask of a model depends on, beside the flat index of the element."""
        self.names_masked.add(self._tensor.name)
        return MaskKey(self.seed, model.key, self._tensor.name)

    @property
    def layer(self) -> int | None:
        """Number of the output's layer that the tensor is in; None outside the layers."""
        self._ask(InLayer())
        return self._tensor.layer

    @property
    def layers(self) -> int:
        """How many layers the output has, if the tensor is in one; else 0."""
        self._ask(InLayer())
        return self._tensor.layers

    def _ask(self, question: Question) -> Hashable:
        answer = self.asked[question] = question.of(self._tensor)
        return answer

    @property
    def fine_tunes(self) -> tuple[ModelInput, ...]:
        """Every input but the base."""
        return tuple(model for model in self.models if model is not self.base)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The tensor of every input."""
        return tuple(model.node for model in self.models)

    @property
    def base_node(self) -> Node:
        """The base's tensor, for methods that require one."""
        assert self.base is not None, "the builder checks that such methods have a base"
        return self.base.node

    def number(self, parameter: str) -> float:
        """A numeric parameter of the method."""
        return cast("float", self.parameters[parameter])

    def flag(self, parameter: str) -> bool:
        """A boolean parameter of the method."""
        return bool(self.parameters[parameter])


Surveyed: TypeAlias = Callable[[tuple[MergeInputs, ...]], Survey]
"""Makes the statistics over many tensors, from what the method gets for every merged tensor."""
Beside: TypeAlias = Callable[[Survey], Mapping[str, Node]]
"""Makes tensors of the output by name, from what the method has found out about all tensors."""
Build: TypeAlias = Callable[[MergeInputs], Node]
"""Builds the subgraph of one output tensor; its result is in the dtype of the inputs."""


@frozen(eq=False)
class Method:
    """A merge method."""

    name: str
    """Its name in recipes."""
    summary: str
    """What it does, in one sentence."""
    formula: str
    """The result in terms of the inputs."""
    use_when: str
    """When to choose it."""
    paper: str
    """Where it comes from."""
    build: Build
    """Builds the subgraph of one output tensor; of a record in a dtype of its own."""
    base: BaseRule
    """Whether a base model is needed."""
    group: Group = Group.OTHERS
    """What kind of method it is."""
    parameters: tuple[ParameterSpec, ...] = ()
    """Its parameters."""
    statistics: StatisticsRule = StatisticsRule.NONE
    """What it wants to know of each model beside its weights."""
    least_models: int = 1
    """Fewest inputs, the base included."""
    most_models: int | None = field(default=None)
    """Most inputs, the base included; None for any number."""
    survey: Surveyed | None = None
    """For a method with statistics over the whole model: makes their nodes, before `build` is
    called for any tensor."""
    wants_survey: Callable[[Mapping[str, Scalar], int], bool] | None = None
    """Whether the method's own parameters and the number of models, the base included, ask for the
    survey; None where they always do."""
    record: str = ""
    """For a method that makes no model: what it makes for a later merge instead."""
    beside: Beside | None = None
    """For a record with tensors that are about all tensors of the merge: makes them."""
    choose: Callable[[Mapping[str, Scalar]], int] | None = None
    """For a method that takes one of its inputs as it is: which one, by its own parameters. The
    inputs may differ in shape then."""
    position: str | None = None
    """For an interpolation between two models: its parameter that is 0 at the base, or else the
    first, and 1 at the other."""
    copies_lone_source: bool = False
    """Whether a slice with a single source is copied instead of refused, as published recipes
    expect."""

    @property
    def signature(self) -> MethodSignature:
        """The method as the checks of a recipe see it."""
        return MethodSignature(self.name, self.parameters)
