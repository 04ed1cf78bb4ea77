"""YAML text to plain Python values, without the traps of YAML 1.1.

`on`, `off`, `yes` and `no` stay text (they occur as model names and filters), `010` is ten, dates
and sexagesimal numbers are text, a key given twice is an error. `1e-5` is text, as everywhere in
YAML 1.1: numeric text is accepted where a recipe wants a number.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from graphmerge.errors import Problem, RecipeError

_NULL, _BOOL, _INT, _FLOAT, _STR, _SEQ, _MAP, _MERGE = (
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
)


def load_yaml(text: str, *, origin: str) -> object:
    """The value of a YAML document made of mappings, lists, text, numbers, booleans and null.

    Raises:
        RecipeError: the text is not YAML, holds anything else, or gives a key twice.
    """
    documents = load_yaml_documents(text, origin=origin)
    if len(documents) > 1:
        raise RecipeError(Problem("not valid YAML: several documents, where one is wanted", origin))
    return documents[0]


def load_yaml_documents(text: str, *, origin: str) -> list[object]:
    """The values of all documents in a text; of an empty one a single None.

    Raises:
        RecipeError: as `load_yaml`.
    """
    try:
        return list(yaml.load_all(text, Loader=_RecipeLoader)) or [None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}, line {mark.line + 1}, column {mark.column + 1}" if mark else origin
        raise RecipeError(Problem(f"not valid YAML: {error.problem}", where)) from error
    except RecursionError as error:
        raise RecipeError(Problem("not valid YAML: nested too deeply", origin)) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML passes on what chr() and int() raise for "\UFFFFFFFF" and for endless numbers.
        raise RecipeError(
            Problem(f"not valid YAML: {' '.join(str(error).split())}", origin)
        ) from error


def _construct_bool(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in {"true", "false"}:
        raise ConstructorError(None, None, f"{text!r} is no boolean", node.start_mark)
    return text == "true"


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


class _RecipeLoader(yaml.SafeLoader):
    """Knows the tags of recipes and no others."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # the name and the kind of attribute are PyYAML's
    yaml_constructors = {  # noqa: RUF012  # as above
        _NULL: yaml.SafeLoader.construct_yaml_null,
        _BOOL: _construct_bool,
        _INT: _construct_int,
        _FLOAT: _construct_float,
        _STR: yaml.SafeLoader.construct_yaml_str,
        _SEQ: yaml.SafeLoader.construct_yaml_seq,
        _MAP: yaml.SafeLoader.construct_yaml_map,
        None: yaml.SafeLoader.construct_undefined,
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping, whose keys must differ (checked before `<<` mixes in the keys of others)."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            earlier = first.setdefault((key.tag, key.value), key.start_mark)
            if earlier is not key.start_mark:
                problem = f"key {key.value!r} is given twice (first in line {earlier.line + 1})"
                raise ComposerError(None, None, problem, key.start_mark)
        return node


for _tag, _pattern, _first_characters in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    (_MERGE, r"<<", ["<"]),
):
    _RecipeLoader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first_characters)
