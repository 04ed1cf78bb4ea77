"""Checks of slices against method and layers, before any tensor is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.build.matching import Models, listed_sources, slice_length
from graphmerge.build.models import in_module, stack_of
from graphmerge.errors import Problem, RecipeError
from graphmerge.methods.base import RESCALERS, BaseRule, Method, StatisticsRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphmerge.build.models import Model
    from graphmerge.checkpoint.layer_layout import LayerStack
    from graphmerge.recipe.values import ModelReference, Module, Recipe, Slice, Source


def refuse_records(recipe: Recipe, models: Models) -> None:
    """Check that no model of a recipe is what emr_masks makes; a written one may be copied alone.

    Raises:
        RecipeError: one is, in each place where the recipe names it.
    """
    is_alone = len(recipe.merged()) == 1
    problems = [
        Problem(
            f"{models[reference].label} is no model",
            where,
            "masks and factors of tasks, as emr_masks makes them",
            "a model",
            "use them with emr_restore: name them under statistics: of the model that emr makes "
            "of the same models",
        )
        for reference, where in _named_models(recipe)
        if _is_record(models[reference]) and not (is_alone and models[reference].is_stored)
    ]
    if problems:
        raise RecipeError(*problems)


def _is_record(model: Model) -> bool:
    return bool(model.record) or RESCALERS in model.tensors


def _named_models(recipe: Recipe) -> Iterator[tuple[ModelReference, str]]:
    """Every model, with where it is named."""
    if recipe.base_model:
        yield recipe.base_model, "$.base_model"
    for module in recipe.modules:
        for index, part in enumerate(module.slices):
            where = _place(module, index)
            if part.base_model:
                yield part.base_model, f"{where}.base_model"
            for position, source in enumerate(part.sources):
                yield source.model, f"{_sources_place(module, where)}[{position}]"


def _place(module: Module, index: int) -> str:
    """Where the recipe has a slice."""
    root = "$" if module.name is None else f"$.modules.{module.name}"
    return f"{root}.models" if module.is_whole_model else f"{root}.slices[{index}]"


def _sources_place(module: Module, where: str) -> str:
    """Where it has the sources of a slice that is in this place."""
    return where if module.is_whole_model else f"{where}.sources"


def check_slices(recipe: Recipe, method: Method, models: Models) -> Iterator[Problem]:
    """Everything wrong with the sources of any slice, even of one without layers."""
    if method.record and recipe.out_dtype:
        what, got = f"{method.name} has dtypes of its own", recipe.out_dtype.torch_name
        yield Problem(what, "$.out_dtype", got, hint="leave it out")
    for module in recipe.modules:
        yield from _check_length(module)
        for index, part in enumerate(module.slices):
            where = _place(module, index)
            base = part.base_model or recipe.base_model
            listed = listed_sources(module, part, base)
            if module.is_whole_model or len(listed) > 1 or not method.copies_lone_source:
                yield from _check_sources(method, models, listed, base, where)
            yield from _check_components(module, part.sources, base, models, where)
            if module.is_whole_model and method.choose is None:
                yield from _check_depths(module, listed, models, where)
            yield from _check_statistics(method, module, part, base, models, where)
            if not module.is_whole_model:
                for position, source in enumerate(part.sources):
                    yield from _check_range(module, source, models, f"{where}.sources[{position}]")
        yield from _check_module_name(module, models)


def _check_length(module: Module) -> Iterator[Problem]:
    """Slices without a single layer; some of several may have none, to choose a head by them."""
    if module.is_whole_model or any(map(slice_length, module.slices)):
        return
    ranges = [list(source.layer_range or ()) for part in module.slices for source in part.sources]
    root = "$" if module.name is None else f"$.modules.{module.name}"
    yield Problem(
        "the slices make a model without layers",
        f"{root}.slices",
        ", ".join(f"layer_range {found}" for found in ranges),
        "one layer at least",
        "a range ends before its second number: [0, 2] are the layers 0 and 1",
    )


def _check_sources(
    method: Method,
    models: Models,
    sources: tuple[Source, ...],
    base: ModelReference | None,
    where: str,
) -> Iterator[Problem]:
    """A wrong number of inputs, and a base that is missing or takes no part."""
    labels = ", ".join(models[source.model].label for source in sources)
    counts_base = method.base is not BaseRule.OPTIONAL
    count = sum(counts_base or source.model != base for source in sources)
    if count < method.least_models or count > (method.most_models or count):
        what = f"wrong number of models for {method.name}"
        wanted = f"{_wanted(method)}, the base {'included' if counts_base else 'not counted'}"
        yield Problem(what, where, f"{count} ({labels})", wanted)
    if method.base is BaseRule.REQUIRED and base is None:
        yield Problem(f"{method.name} needs a base model", where, hint="add base_model:")
    elif (
        method.base is not BaseRule.NONE
        and base is not None
        and all(source.model != base for source in sources)
    ):
        yield Problem(
            f"the base model is not among the sources; {method.name} needs it there",
            where,
            labels,
            models[base].label,
            "add the base with its layer_range, or set the slice's base_model",
        )


def _wanted(method: Method) -> str:
    """How many inputs a method takes."""
    least, most = method.least_models, method.most_models
    if most is None:
        return f"at least {least}"
    return str(least) if most == least else f"{least} to {most}"


def _check_statistics(
    method: Method,
    module: Module,
    part: Slice,
    base: ModelReference | None,
    models: Models,
    where: str,
) -> Iterator[Problem]:
    """Models without statistics for a method that wants them, or the other way round."""
    rule, listed = method.statistics, listed_sources(module, part, base)
    prefix = _sources_place(module, where)
    for position, source in enumerate(part.sources):
        is_wanted = rule is not StatisticsRule.NONE and (rule.of_base or source.model != base)
        if is_wanted and source.statistics is None:
            what = f"{method.name} needs statistics of {models[source.model].label}"
            wanted = f"a checkpoint with {method.statistics.value}"
            hint = "add statistics: with its path"
            yield Problem(what, f"{prefix}[{position}]", wanted=wanted, hint=hint)
        if not is_wanted and source.statistics is not None:
            of_base = "" if rule is StatisticsRule.NONE else " of the base model"
            what, got = f"{method.name} takes no statistics{of_base}", str(source.statistics)
            hint = "leave it out, or choose fisher, regmean or emr_restore"
            yield Problem(what, f"{prefix}[{position}].statistics", got, hint=hint)
    if rule.of_base and base and len(listed) > len(part.sources):
        what = f"the base model counts as one more input, and {method.name} needs statistics of it"
        hint = "list it under models: with statistics:, or leave base_model out"
        yield Problem(what, where, models[base].label, hint=hint)


def _check_components(
    module: Module,
    sources: tuple[Source, ...],
    base: ModelReference | None,
    models: Models,
    where: str,
) -> Iterator[Problem]:
    """Components of the model that gives the names, which others lack."""
    if not sources:
        return
    donor = models[base or sources[0].model]
    folders = [one.folder for one in donor.checkpoint.components]
    for model in dict.fromkeys(models[source.model] for source in sources):
        present = {one.folder for one in model.checkpoint.components}
        for folder in folders:
            if folder and folder not in present and in_module(f"{folder}/", module.name):
                yield Problem(
                    f"{model.label} has no component {folder}",
                    where,
                    ", ".join(sorted(present - {""})) or "one model without components",
                    f"the components of {donor.label}",
                    "list under modules: what is to be merged; the rest is copied",
                )


def _check_depths(
    module: Module, sources: tuple[Source, ...], models: Models, where: str
) -> Iterator[Problem]:
    """Whole models with stacks of unequal length: the longest would be cut, or layers be missing.

    Layers that predict further tokens do not count, as tensors outside the layers do not; and
    numbers of config.json alone do not, where the tensors have the same ones.
    """
    found: dict[str, dict[Model, int]] = {}
    for model in dict.fromkeys(models[source.model] for source in sources):
        for stack in model.layout_in(module.name).stacks:
            if _is_merged(stack, module, model):
                found.setdefault(stack.prefix, {})[model] = stack.count
    for prefix, counts in found.items():
        last = {max(model.names.indexes[prefix]) for model in counts}
        if len(last) > 1 and len(set(counts.values())) > 1:
            got = ", ".join(f"{model.label} has {count}" for model, count in counts.items())
            yield Problem(
                "the models differ in their number of layers",
                where,
                f"{got} in {prefix.removesuffix('.')}",
                "equal numbers",
                "use slices: to choose as many layers of each, in Python gm.stack_layers",
            )


def _is_merged(stack: LayerStack, module: Module, model: Model) -> bool:
    """Whether a module has tensors in a stack; experts of a model without layers are none."""
    within = (name for name in model.names.names if name.startswith(stack.prefix))
    return "expert" not in stack.prefix and any(in_module(name, module.name) for name in within)


def _check_range(module: Module, source: Source, models: Models, where: str) -> Iterator[Problem]:
    model = models[source.model]
    stack = stack_of(model, module.name)
    if stack is None:
        stacks = ", ".join(found.prefix for found in model.layout.stacks) or "no numbered blocks"
        yield Problem(
            "cannot tell which layers to slice",
            where,
            f"{model.label} has {stacks}",
            "one stack of layers",
            "name the part under modules:" if model.layout.stacks else model.layout.note,
        )
    elif source.layer_range and source.layer_range[1] > stack.count:
        yield Problem(
            "layer_range goes beyond the model",
            f"{where}.layer_range",
            str(list(source.layer_range)),
            f"at most {stack.count} layers in {model.label}",
        )


def _check_module_name(module: Module, models: Models) -> Iterator[Problem]:
    if module.name is None:
        return
    names = models[module.slices[0].sources[0].model].tensors
    if not any(in_module(name, module.name) for name in names):
        parts = sorted(
            {name.split(".")[0] for name in names}
            | {".".join(name.split(".")[:2]) for name in names}
        )
        yield Problem(
            f"no tensor belongs to module {module.name!r}",
            f"$.modules.{module.name}",
            wanted="a part of the tensor names, such as " + ", ".join(parts[:8]),
        )
