"""One recipe over its models: the model that comes out, tensor by tensor, and what is left out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve, field

from graphmerge.build.checks import check_slices
from graphmerge.build.matching import (
    Match,
    Models,
    donor_of,
    match_tensors,
    slice_length,
    used_names,
)
from graphmerge.build.models import (
    Model,
    ModelTensor,
    as_record,
    derived_model,
    in_module,
    stack_of,
)
from graphmerge.build.statistics import require_some_used
from graphmerge.build.surveying import surveyed
from graphmerge.build.tensors import TensorBuilder
from graphmerge.checkpoint.layer_config import with_layers
from graphmerge.errors import GraphmergeError, InputError, Problem, RecipeError
from graphmerge.frozen_classes import frozen
from graphmerge.graph import Omission
from graphmerge.methods.registry import parameter_names
from graphmerge.recipe.check import check_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import ModelReference, Recipe, Scalar

Made = TypeVar("Made")
NO_SUCH_TENSOR = "the model that gives the names has no such tensor"
UNLISTED = "in no module that the recipe lists"
SHOWN_PROBLEMS = 20
"""Problems that one error message lists; the rest are counted."""


@frozen(eq=False)
class Lifted:
    """What a recipe makes of its models."""

    model: Model
    """The model that comes out."""
    names: tuple[str, ...]
    """Its tensors in the order in which they are to be written."""
    parameters: Mapping[str, Mapping[str, Scalar]]
    """Resolved parameters of every merged tensor: `weight of MODEL`, or the method's own by
    name."""
    omissions: tuple[Omission, ...]
    """Input tensors left out, with the reason."""
    warnings: tuple[str, ...]
    """What the user should know before running."""
    notes: tuple[str, ...] = ()
    """What is done with vocabularies."""
    reading_bytes: int = 0
    """Memory that reading tokenizers took."""


def lift(
    recipe: Recipe,
    method: Method,
    models: Models,
    *,
    seed: int,
    reference: ModelReference,
    key: str,
) -> Lifted:
    """Apply a recipe to models.

    Args:
        recipe: What to do.
        method: Its method.
        models: Every model that it refers to.
        seed: Seed of random masks.
        reference: What the model that comes out is called.
        key: What random masks depend on where it is used.

    Raises:
        InputError: everything that is wrong with the recipe's parameters, slices and tensors, at
        once.
    """
    checked = check_parameters(recipe, method.signature, all_names=parameter_names)
    problems = [*checked.problems, *check_slices(recipe, method, models)]
    if problems:
        raise RecipeError(*problems)
    matches = [
        match
        for module in recipe.modules
        for match in match_tensors(module, models, recipe.base_model)
    ]
    used = used_names(matches)
    require_some_used((models[name], used.get(models[name], set())) for name in recipe.statistics())
    builder = TensorBuilder(recipe, method, seed)
    tensors = _tensors(matches, builder)
    donor = models[recipe.donor]
    copied = {} if method.record else _unlisted(recipe, donor, tensors)
    used.setdefault(donor, set()).update(copied)
    made = tensors | copied
    model = derived_model(reference, key, made, donor, _config(recipe, donor))
    model = as_record(model, method.record) if method.record else model
    return Lifted(
        model,
        tuple(made),
        builder.resolved,
        tuple(_omissions(recipe, models, used)),
        (*map(str, checked.warnings), *_ignored_ranges(recipe)),
    )


def _tensors(matches: Sequence[Match], builder: TensorBuilder) -> dict[str, ModelTensor]:
    """Every tensor; a method with a survey looks at all of them before it is applied to any.

    A record has what is made of the models, not what is copied from them.
    """
    problems = _Problems()
    if builder.wants_survey(matches):
        merges = surveyed(builder, matches, problems.of)
        problems.raise_any()
        problems.of("", partial(builder.survey, merges))
        problems.raise_any()
    made: dict[str, ModelTensor] = {}
    for match in matches:
        try:
            made[match.name] = builder.build(match)
        except GraphmergeError as error:  # noqa: PERF203 - problems of all tensors are told at once
            problems.add(match.name, error)
    problems.raise_any()
    if builder.method.record:
        made = {name: tensor for name, tensor in made.items() if not tensor.reason}
    return made | builder.beside()


@frozen(eq=False)
class _Problems:
    """What is wrong with the tensors of a merge, told at once; each kind of problem once."""

    found: dict[tuple[str, str, str], Problem] = field(factory=dict)
    kinds: list[type[GraphmergeError]] = field(factory=list)

    def of(self, tensor: str, make: Callable[[], Made]) -> Made | None:
        """What `make` makes; None where it fails."""
        try:
            return make()
        except GraphmergeError as error:
            self.add(tensor, error)
            return None

    def add(self, tensor: str, error: GraphmergeError) -> None:
        """Note what an error says of a tensor."""
        self.kinds.append(type(error))
        for problem in error.problems:
            where = _located(tensor, problem.where) if tensor else problem.where
            located = evolve(problem, where=where)
            self.found.setdefault((problem.what, problem.got, problem.wanted), located)

    def raise_any(self) -> None:
        """Raise an error with all problems so far, if there are any."""
        if self.found:
            shown = list(self.found.values())[:SHOWN_PROBLEMS]
            rest = len(self.found) - len(shown)
            more = [f"and {rest} more of this kind"] if rest else []
            raise common_kind(self.kinds)(*shown, *more)


def common_kind(kinds: Sequence[type[GraphmergeError]]) -> type[GraphmergeError]:
    """The kind of error that several problems make: theirs, if it is one."""
    return kinds[0] if len(set(kinds)) == 1 else InputError


def _located(tensor: str, where: str) -> str:
    """Where a problem is, the tensor's name among it."""
    name = f"tensor {tensor}"
    if "tensor " in where:
        return where
    return f"{name}, {where}" if where else name


def _unlisted(
    recipe: Recipe, donor: Model, done: Mapping[str, ModelTensor]
) -> dict[str, ModelTensor]:
    """Tensors of the donor that no module of a `modules:` recipe covers: copied."""
    return {
        name: evolve(tensor, reason=UNLISTED)
        for name, tensor in donor.tensors.items()
        if name not in done and not _is_listed(recipe, name)
    }


def _is_listed(recipe: Recipe, name: str) -> bool:
    """Whether a tensor lies in a module of the recipe, or the recipe is of whole models."""
    return any(in_module(name, module.name) for module in recipe.modules)


def _omissions(recipe: Recipe, models: Models, used: dict[Model, set[str]]) -> Iterator[Omission]:
    """Input tensors that take part in nothing."""
    sliced = any(not module.is_whole_model for module in recipe.modules)
    for model in models.values():
        given = used.get(model, set())
        given |= {model.tied[name] for name in given & set(model.tied)}
        for name in model.tensors:
            if name not in given:
                listed = _is_listed(recipe, name)
                reason = _omission_reason(model, name, sliced=sliced) if listed else UNLISTED
                yield Omission(model.label, name, reason)


def _omission_reason(model: Model, name: str, *, sliced: bool) -> str:
    if sliced and model.layout.locate(name):
        return "its layer is in no slice"
    if sliced:
        return "only the first and last slice give tensors outside the layers"
    return NO_SUCH_TENSOR


def _ignored_ranges(recipe: Recipe) -> Iterator[str]:
    """Layer ranges of whole models: mergekit ignores them, and published recipes have them."""
    for module in recipe.modules:
        for index, source in enumerate(module.slices[0].sources if module.is_whole_model else ()):
            if source.layer_range is not None:
                what = "layer_range has no effect on a whole model"
                within = f"$.modules.{module.name}" if module.name is not None else "$"
                where = f"{within}.models[{index}]"
                yield str(Problem(what, where, hint="use 'slices:' to cut layers"))


def _config(recipe: Recipe, donor: Model) -> Mapping[str, object]:
    """The donor's config, with the layers that a sliced recipe gives."""
    config = donor.config
    for module in recipe.modules:
        stack = None if module.is_whole_model else stack_of(donor, module.name)
        if stack is None or not stack.config_key:
            continue
        sources: list[int] = []
        for part in module.slices:
            first, _ = donor_of(part, part.base_model or recipe.base_model).layer_range or (0, 0)
            sources.extend(range(first, first + slice_length(part)))
        config = with_layers(config, stack.config_key, sources)
    return config
