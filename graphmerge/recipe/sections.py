"""The parts of a recipe that say which layers of which models are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.recipe.coercion import to_integer
from graphmerge.recipe.parameters import read_parameters
from graphmerge.recipe.references import read_reference
from graphmerge.recipe.values import Module, Slice, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from graphmerge.recipe.cursor import Cursor
    from graphmerge.recipe.values import ModelReference

_FORMS = ("models", "slices", "modules")
_SOURCE_KEYS = ("model", "layer_range", "statistics", "parameters")
WHOLE_MODEL = "default"
"""What the only module of a model is called, by mergekit and in recipes that are written."""


def read_modules(root: Cursor, fields: Mapping[str, Cursor]) -> tuple[Module, ...]:
    """The parts of the model, from exactly one of `models:`, `slices:` and `modules:`."""
    if exactly_one(root, fields, _FORMS) != "modules":
        return (_read_module(None, fields),)
    modules = fields["modules"].entries()
    if not modules:
        fields["modules"].report("no modules", wanted="at least one module")
    parts = [_read_named_module(name, place) for name, place in modules.items()]
    if [part.name for part in parts] == [WHOLE_MODEL]:
        return (evolve(parts[0], name=None),)
    return tuple(parts)


def exactly_one(place: Cursor, fields: Mapping[str, Cursor], names: Sequence[str]) -> str | None:
    """The one of the keys that is given; None, with the problem reported, if there is none such."""
    given = [name for name in names if name in fields]
    if len(given) == 1:
        return given[0]
    found = f"{' and '.join(given)} exclude each other" if given else "a key is missing"
    place.report(found, wanted=f"exactly one of {', '.join(names)}")
    return None


def _read_named_module(name: str, place: Cursor) -> Module:
    fields = place.fields(("models", "slices", "parameters"))
    if isinstance(place.value, dict):
        exactly_one(place, fields, ("models", "slices"))
    module = _read_module(name, fields)
    return evolve(module, parameters=read_parameters(fields.get("parameters")))


def _read_module(name: str | None, fields: Mapping[str, Cursor]) -> Module:
    if "slices" in fields:
        slices = tuple(_read_slice(part) for part in fields["slices"].items())
        return Module(name, slices, is_whole_model=False)
    models = fields["models"].items() if "models" in fields else []
    sources = tuple(found for model in models if (found := _read_model(model)))
    return Module(name, (Slice(sources),), is_whole_model=True)


def _read_model(place: Cursor) -> Source | None:
    """One entry of `models:`; None, with the problems reported, if its model is wrong."""
    return _read_fields(place.fields(_SOURCE_KEYS, required=("model",)))


def _read_slice(place: Cursor) -> Slice:
    keys = ("sources", "base_model", "parameters", "residual_weight")
    fields = place.fields(keys, required=("sources",))
    parts = fields["sources"].items() if "sources" in fields else []
    sources = tuple(found for part in parts if (found := _read_source(part)))
    lengths = [end - start for start, end in (source.layer_range or (0, 0) for source in sources)]
    if len(set(lengths)) > 1:
        counts = place.at("sources", lengths)
        counts.report(
            "the sources of a slice differ in their number of layers", wanted="equal numbers"
        )
    base_model = read_reference(fields["base_model"]) if "base_model" in fields else None
    return Slice(sources, base_model, read_parameters(fields.get("parameters")))


def _read_source(place: Cursor) -> Source | None:
    """One entry of `sources:`; None, with the problems reported, if its model or range is wrong."""
    source = _read_fields(place.fields(_SOURCE_KEYS, required=("model", "layer_range")))
    return source if source and source.layer_range else None


def _read_fields(fields: Mapping[str, Cursor]) -> Source | None:
    """A source; None, with the problems reported, if its model is wrong."""
    layer_range = _read_layer_range(fields["layer_range"]) if "layer_range" in fields else None
    model = read_reference(fields["model"]) if "model" in fields else None
    statistics = _read_statistics(fields["statistics"]) if "statistics" in fields else None
    parameters = read_parameters(fields.get("parameters"))
    return Source(model, layer_range, parameters, statistics) if model else None


def _read_statistics(place: Cursor) -> ModelReference | None:
    reference = read_reference(place)
    if reference and reference.lora:
        place.report("statistics have no adapter", wanted="a checkpoint")
        return None
    return reference


def _read_layer_range(place: Cursor) -> tuple[int, int] | None:
    """`[start, end)`, which may be empty."""
    match place.value:
        case [int() | float() | str() as first, int() | float() | str() as last]:
            start, end = to_integer(first), to_integer(last)
            if start is not None and end is not None and 0 <= start <= end:
                return start, end
    place.report("not a range of layers", wanted="[start, end) with integers 0 <= start <= end")
    return None
