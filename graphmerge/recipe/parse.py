"""Recipe text to a checked `Recipe`, with all mistakes reported at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.cursor import Cursor
from graphmerge.recipe.parameters import read_parameters
from graphmerge.recipe.references import read_reference
from graphmerge.recipe.sections import read_modules
from graphmerge.recipe.suggestions import suggest
from graphmerge.recipe.tokenizer import read_chat_template, read_embeddings, read_vocabulary
from graphmerge.recipe.values import Recipe
from graphmerge.recipe.yaml_loading import load_yaml
from graphmerge.spec import DType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KEYS = (
    "merge_method", "models", "slices", "modules", "base_model", "parameters", "dtype", "out_dtype",
    "tokenizer", "tokenizer_source", "embeddings", "chat_template",
)  # fmt: skip
"""Keys of a recipe."""
_FLOATS = {dtype.torch_name: dtype for dtype in (DType.BF16, DType.F16, DType.F32, DType.F64)}
_DTYPES = _FLOATS | {DType.I64.torch_name: DType.I64}
_OTHER_NAMES = {
    "bf16": "bfloat16", "fp16": "float16", "f16": "float16", "half": "float16", "fp32": "float32",
    "f32": "float32", "float": "float32", "fp64": "float64", "f64": "float64", "double": "float64",
}  # fmt: skip


def read_text(path: Path) -> str:
    """The text of a recipe file.

    Raises:
        RecipeError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise RecipeError(Problem("cannot read the recipe", str(path), got)) from error
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8"
        raise RecipeError(Problem("not UTF-8 text", str(path), str(error), hint=hint)) from error


def parse_recipe(
    text: str, *, origin: str = "<string>", recipe_folder: Path | None = None
) -> Recipe:
    """The single recipe that a YAML text holds.

    Which methods exist, and which parameters they have, is not known here: see `check_parameters`.

    Raises:
        RecipeError: the text is not YAML, or no recipe; it holds every problem that was found.
    """
    root = Cursor(load_yaml(text, origin=origin), folder=recipe_folder)
    recipe = read_recipe(root)
    if recipe is None or root.problems:
        raise RecipeError(*root.problems)
    return evolve(recipe, text=text, origin=origin)


def read_recipe(root: Cursor, *, keys: Sequence[str] = KEYS) -> Recipe | None:
    """The recipe at a place; None, with problems reported, if it is none."""
    fields = root.fields(keys, required=("merge_method",))
    if not isinstance(root.value, dict):
        return None
    method = fields["merge_method"].text() if "merge_method" in fields else None
    return Recipe(
        merge_method=method or "",
        modules=read_modules(root, fields),
        base_model=read_reference(fields["base_model"]) if "base_model" in fields else None,
        parameters=read_parameters(fields.get("parameters")),
        dtype=read_dtype(fields.get("dtype")),
        out_dtype=read_out_dtype(fields.get("out_dtype")),
        tokenizer=read_vocabulary(root, fields),
        embeddings=read_embeddings(fields),
        chat_template=read_chat_template(fields.get("chat_template")),
    )


def dtype_named(name: str, *, of_output: bool = False) -> DType:
    """The dtype of this name. Raises RecipeError with the nearest names for an unknown one."""
    place = Cursor(name, path="dtype")
    dtype = read_out_dtype(place) if of_output else read_dtype(place)
    if dtype is None:
        raise RecipeError(*place.problems)
    return dtype


def read_dtype(place: Cursor | None) -> DType | None:
    """The dtype of inputs at a place; None, with problems reported, if it is none.

    No integers: weights are cast to it before they are merged.
    """
    return _read_dtype(place, _FLOATS)


def read_out_dtype(place: Cursor | None) -> DType | None:
    """The dtype of outputs at a place; None, with problems reported, if it is none."""
    return _read_dtype(place, _DTYPES)


def _read_dtype(place: Cursor | None, allowed: Mapping[str, DType]) -> DType | None:
    name = place.text() if place else None
    if place is None or name is None:
        return None
    plain = name.removeprefix("torch.")
    dtype = allowed.get(plain)
    if dtype is None:
        what = "weights cannot be merged as integers" if plain in _DTYPES else "unknown dtype"
        place.report(what, wanted=f"one of {', '.join(allowed)}", hint=_dtype_hint(plain, allowed))
    return dtype


def _dtype_hint(name: str, allowed: Mapping[str, DType]) -> str:
    """What may have been meant by a dtype that is not allowed."""
    if name in _DTYPES:
        return f"leave it out to copy integer tensors; out_dtype: {name} rounds what is merged"
    meant = _OTHER_NAMES.get(name.lower().removeprefix("torch."))
    return f"did you mean '{meant}'?" if meant else suggest(name, allowed)
