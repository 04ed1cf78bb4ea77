"""Recipe and checkpoints to graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from graphmerge.build.checks import check_slices
from graphmerge.build.matching import Match, Models, match_tensors, slice_length, used_names
from graphmerge.build.models import Model, donor_reference, in_module, stack_of
from graphmerge.build.tensors import TensorBuilder
from graphmerge.errors import GraphmergeError, InputError, Problem, RecipeError
from graphmerge.graph import Graph, Omission, Output, make_node, simplify, verify_graph
from graphmerge.methods.registry import parameter_names
from graphmerge.ops import LoadTensor
from graphmerge.recipe.check import check_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from graphmerge.methods.base import Method
    from graphmerge.recipe.values import Recipe, Scalar

SHOWN_NAMES = 3
"""Names that a note lists; the rest are counted."""
SHOWN_PROBLEMS = 20
"""Problems that one error message lists; the rest are counted."""


@frozen(eq=False)
class Build:
    """A graph with what the output's config needs to know."""

    graph: Graph
    """The graph."""
    donor: Model
    """Model whose config, tokenizer and side files the output takes."""
    parameters: Mapping[str, Mapping[str, Scalar]]
    """Resolved parameters of every merged tensor: `weight of MODEL`, or the method's own by
    name."""
    layer_sources: tuple[int, ...] | None
    """For every layer of the output its number in the donor slice's model; None when layers are
    unchanged."""
    layer_count_key: str
    """Where config.json has the layer count; empty when layers are unchanged."""


def build_graph(recipe: Recipe, method: Method, models: Models, *, seed: int) -> Build:
    """The graph of a recipe.

    Raises:
        InputError: everything that is wrong with the recipe's parameters, slices and tensors, at
        once.
    """
    checked = check_parameters(recipe, method.signature, all_names=parameter_names())
    problems = [*checked.problems, *check_slices(recipe, method, models)]
    if problems:
        raise RecipeError(*problems)
    matches = [
        match
        for module in recipe.modules
        for match in match_tensors(module, models, recipe.base_model)
    ]
    builder = TensorBuilder(recipe, method, seed)
    outputs = _outputs(matches, builder)
    donor = models[donor_reference(recipe)]
    copied = _unlisted(recipe, donor, {output.name for output in outputs})
    outputs += copied
    simplified = simplify(output.node for output in outputs)
    final = tuple(Output(output.name, simplified[output.node], output.reason) for output in outputs)
    used = used_names(matches)
    used.setdefault(donor, set()).update(output.name for output in copied)
    warnings = (*map(str, checked.warnings), *_ignored_ranges(recipe), *_warnings(models))
    graph = Graph(final, tuple(_omissions(recipe, models, used)), warnings)
    verify_graph(graph)
    return Build(graph, donor, builder.resolved, *_layers(recipe, donor))


def _outputs(matches: Iterable[Match], builder: TensorBuilder) -> list[Output]:
    outputs: list[Output] = []
    problems: dict[tuple[str, str, str], Problem] = {}
    for match in matches:
        try:
            outputs.append(builder.build(match))
        except GraphmergeError as error:  # noqa: PERF203 - problems of all tensors are told at once
            for problem in error.problems:
                where = problem.where or f"tensor {match.name}"
                located = Problem(problem.what, where, problem.got, problem.wanted, problem.hint)
                problems.setdefault((problem.what, problem.got, problem.wanted), located)
    if problems:
        shown = list(problems.values())[:SHOWN_PROBLEMS]
        rest = len(problems) - len(shown)
        raise InputError(*shown, *([f"and {rest} more of this kind"] if rest else []))
    return outputs


def _unlisted(recipe: Recipe, donor: Model, done: set[str]) -> list[Output]:
    """Tensors of the donor that no module of a `modules:` recipe covers: copied."""
    listed = [module.name for module in recipe.modules if module.name is not None]
    if not listed:
        return []
    reason = "in no module that the recipe lists"
    return [
        Output(name, make_node(LoadTensor(donor.label, entry)), reason)
        for name, entry in donor.checkpoint.tensors.items()
        if name not in done and not any(in_module(name, module) for module in listed)
    ]


def _omissions(recipe: Recipe, models: Models, used: dict[Model, set[str]]) -> Iterator[Omission]:
    """Input tensors that take part in nothing."""
    sliced = any(not module.is_whole_model for module in recipe.modules)
    for model in models.values():
        given = used.get(model, set())
        given |= {model.tied[name] for name in given & set(model.tied)}
        for name in model.checkpoint.tensors:
            if name not in given:
                yield Omission(model.label, name, _omission_reason(model, name, sliced=sliced))


def _omission_reason(model: Model, name: str, *, sliced: bool) -> str:
    if sliced and model.layout.locate(name):
        return "its layer is in no slice"
    if sliced:
        return "only the first and last slice give tensors outside the layers"
    return "the model that gives the names has no such tensor"


def _ignored_ranges(recipe: Recipe) -> Iterator[str]:
    """Layer ranges of whole models: mergekit ignores them, and published recipes have them."""
    for module in recipe.modules:
        for index, source in enumerate(module.slices[0].sources if module.is_whole_model else ()):
            if source.layer_range is not None:
                what = "layer_range has no effect on a whole model"
                yield str(Problem(what, f"$.models[{index}]", hint="use 'slices:' to cut layers"))


def _warnings(models: Models) -> tuple[str, ...]:
    notes = [
        f"{model.label}: {model.layout.note}" for model in models.values() if model.layout.note
    ]
    notes += [
        f"{model.label}: not part of the model and ignored: {_some(model.checkpoint.unlisted)}"
        for model in models.values()
        if model.checkpoint.unlisted
    ]
    return tuple(notes)


def _some(names: tuple[str, ...]) -> str:
    """The first few names, and how many there are beside."""
    rest = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _layers(recipe: Recipe, donor: Model) -> tuple[tuple[int, ...] | None, str]:
    """For sliced recipes where the layers come from, and the config key of their number."""
    for module in recipe.modules:
        if module.is_whole_model:
            continue
        stack = stack_of(donor, module.name)
        sources: list[int] = []
        for part in module.slices:
            first, _ = part.sources[0].layer_range or (0, 0)
            sources.extend(range(first, first + slice_length(part)))
        return tuple(sources), stack.config_key if stack else ""
    return None, ""
