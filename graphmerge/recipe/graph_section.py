"""Recipe files with several entries: a `graph:` section, or one YAML document for each entry."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.cursor import Cursor
from graphmerge.recipe.parameters import read_parameters
from graphmerge.recipe.parse import read_dtype, read_out_dtype, read_recipe, read_text
from graphmerge.recipe.references import read_reference
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.tokenizer import EMBEDDINGS, read_chat_template
from graphmerge.recipe.values import (
    Conditional,
    Entry,
    ModelReference,
    Module,
    Recipe,
    RecipeGraph,
    Slice,
    Source,
    TokenizerSettings,
)
from graphmerge.recipe.yaml_loading import load_yaml_documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_GRAPH_KEYS = ("graph", "output", "dtype", "out_dtype", "chat_template")
_OPERATION_KEYS = ("op", "inputs", "weights", "tensors", "dtype", "out_dtype")
ONLY = ""
"""Name of the only entry of a file that has no names."""


def load_recipe_graph(path: Path) -> RecipeGraph:
    """The recipe, or the recipes, in a file.

    Raises:
        RecipeError: the file cannot be read, or is no recipe.
    """
    return parse_recipe_graph(read_text(path), origin=str(path), recipe_folder=path.parent)


def parse_recipe_graph(
    text: str, *, origin: str = "<string>", recipe_folder: Path | None = None
) -> RecipeGraph:
    """The recipe graph that a YAML text holds: one recipe, a `graph:`, or several documents.

    Which methods and operations exist is not known here.

    Raises:
        RecipeError: the text is not YAML, or no recipe; it holds every problem that was found.
    """
    documents = load_yaml_documents(text, origin=origin)
    root = Cursor(documents[0] if len(documents) == 1 else documents, folder=recipe_folder)
    if len(documents) > 1:
        entries, output = _read_documents(root, documents)
    elif isinstance(root.value, dict) and "graph" in root.value:
        entries, output = _read_graph(root)
    else:
        recipe = read_recipe(root)
        entries, output = [Entry(ONLY, recipe)] if recipe else [], ONLY
    if root.problems:
        raise RecipeError(*root.problems)
    return RecipeGraph(_ordered(_linked(entries), origin), output, text, origin)


def renamed(recipe: Recipe, names: Mapping[ModelReference, ModelReference]) -> Recipe:
    """The recipe with its models called otherwise."""

    def new(reference: ModelReference | None) -> ModelReference | None:
        return names.get(reference, reference) if reference else None

    modules = tuple(
        evolve(
            module,
            slices=tuple(
                evolve(
                    part,
                    base_model=new(part.base_model),
                    sources=tuple(
                        evolve(
                            source,
                            model=names.get(source.model, source.model),
                            statistics=new(source.statistics),
                        )
                        for source in part.sources
                    ),
                )
                for part in module.slices
            ),
        )
        for module in recipe.modules
    )
    return evolve(
        recipe,
        modules=modules,
        base_model=new(recipe.base_model),
        tokenizer=recipe.tokenizer and renamed_tokenizer(recipe.tokenizer, names),
    )


def renamed_tokenizer(
    settings: TokenizerSettings, names: Mapping[ModelReference, ModelReference]
) -> TokenizerSettings:
    """The section with its models called otherwise."""
    source = settings.source
    return evolve(
        settings,
        source=source if isinstance(source, str) else names.get(source, source),
        tokens={
            token: evolve(given, model=given.model and names.get(given.model, given.model))
            for token, given in settings.tokens.items()
        },
    )


def with_cropped_embeddings(recipes: RecipeGraph) -> RecipeGraph:
    """The recipes with `embeddings: crop` where they say nothing of vocabularies."""
    entries = (
        evolve(entry, recipe=evolve(entry.recipe, embeddings="crop"))
        if entry.recipe.tokenizer is None and entry.recipe.embeddings == EMBEDDINGS[0]
        else entry
        for entry in recipes.entries
    )
    return evolve(recipes, entries=tuple(entries))


def _read_documents(root: Cursor, documents: Sequence[object]) -> tuple[list[Entry], str]:
    """Documents with `name:`; the last one is the output, and may go without."""
    entries: list[Entry] = []
    for index, document in enumerate(documents):
        place = root.at(index, document)
        if not isinstance(document, dict):
            place.report("not a recipe", wanted="a mapping")
            continue
        is_last = index == len(documents) - 1
        name = place.at("name", document.get("name", ONLY if is_last else None)).value
        if not isinstance(name, str) or not (name or is_last):
            place.report("a document without a name", hint="give it a 'name:' that others refer to")
            continue
        rest = {key: value for key, value in document.items() if key != "name"}
        recipe = read_recipe(evolve(place, value=rest))
        if recipe is not None:
            entries.append(Entry(name, recipe))
    _refuse_repeated(root, [entry.name for entry in entries])
    return entries, entries[-1].name if entries else ONLY


def _refuse_repeated(root: Cursor, names: Sequence[str]) -> None:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            root.report(f"two documents are called {name!r}")


def _read_graph(root: Cursor) -> tuple[list[Entry], str]:
    fields = root.fields(_GRAPH_KEYS, required=("graph", "output"))
    named = fields["graph"].entries() if "graph" in fields else {}
    dtype, out_dtype = read_dtype(fields.get("dtype")), read_out_dtype(fields.get("out_dtype"))
    chat_template = read_chat_template(fields.get("chat_template"))
    output = fields["output"].text() if "output" in fields else None
    entries: list[Entry] = []
    for name, place in named.items():
        recipe = _read_entry(place)
        if recipe is None:
            continue
        recipe = evolve(recipe, dtype=recipe.dtype or dtype)
        if name == output:
            template = recipe.chat_template or chat_template
            recipe = evolve(recipe, out_dtype=recipe.out_dtype or out_dtype, chat_template=template)
        entries.append(Entry(name, recipe))
    if output is not None and output not in named:
        fields["output"].report(
            "no such entry", wanted=f"one of {', '.join(named)}", hint=suggest(output, named)
        )
    return entries, output or ONLY


def _read_entry(place: Cursor) -> Recipe | None:
    if isinstance(place.value, dict) and "op" in place.value:
        return _read_operation(place)
    if isinstance(place.value, dict) and "merge_method" in place.value:
        return read_recipe(place)
    place.report("not an entry", wanted="a mapping with 'op' and 'inputs', or with 'merge_method'")
    return None


def _read_operation(place: Cursor) -> Recipe | None:
    """`{op, inputs, ...}`: everything else is a parameter; `weights` has a value for each input."""
    entries = place.entries()
    operation = entries["op"].text()
    if "inputs" not in entries:
        place.report("missing key 'inputs'")
        return None
    inputs = [read_reference(item) for item in entries["inputs"].items()]
    weights = _read_weights(entries.get("weights"), len(inputs))
    own = {key: entry.value for key, entry in entries.items() if key not in _OPERATION_KEYS}
    parameters = read_parameters(evolve(place, value=own))
    if "tensors" in entries:
        parameters["other"] = _read_tensors(entries["tensors"])
    dtype, out_dtype = read_dtype(entries.get("dtype")), read_out_dtype(entries.get("out_dtype"))
    if operation is None or None in inputs:
        return None
    sources = [
        Source(model, None, {"weight": weight} if weight else {})
        for model, weight in zip(inputs, weights, strict=True)
        if model
    ]
    return Recipe(
        operation,
        (Module(None, (Slice(tuple(sources)),), is_whole_model=True),),
        parameters=parameters,
        is_operation=True,
        dtype=dtype,
        out_dtype=out_dtype,
    )


def _read_weights(place: Cursor | None, count: int) -> list[tuple[Conditional, ...]]:
    if place is None:
        return [()] * count
    items = place.items()
    if len(items) != count:
        place.report("wrong number of weights", wanted=f"one for each of {count} inputs")
        return [()] * count
    return [
        read_parameters(evolve(item, value={"weight": item.value})).get("weight", ())
        for item in items
    ]


def _read_tensors(place: Cursor) -> tuple[Conditional, ...]:
    """Parts of tensor names, as filters."""
    parts = [place] if isinstance(place.value, str) else place.items()
    texts = [part.text() for part in parts]
    return tuple(
        Conditional(value=True, filter=None if text == "*" else text) for text in texts if text
    )


def _linked(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that refer to one another by name alone, whatever `@` or `+` the name has."""
    names = {entry.name for entry in entries}
    return [evolve(entry, recipe=renamed(entry.recipe, _links(entry, names))) for entry in entries]


def _links(entry: Entry, names: set[str]) -> dict[ModelReference, ModelReference]:
    return {ref: ModelReference(str(ref)) for ref in entry.references() if str(ref) in names}


def _ordered(entries: Sequence[Entry], origin: str) -> tuple[Entry, ...]:
    """Entries with inputs before users.

    Raises:
        RecipeError: entries are inputs of one another in a circle.
    """
    by_name: Mapping[str, Entry] = {entry.name: entry for entry in entries}
    edges = {
        entry.name: [str(ref) for ref in entry.references() if str(ref) in by_name]
        for entry in entries
    }
    try:
        order = tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise RecipeError(
            Problem("entries are inputs of one another in a circle", origin, circle)
        ) from None
    return tuple(by_name[name] for name in order)
