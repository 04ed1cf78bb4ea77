"""A plan as JSON: the fields of docs/plan-json.md, one on each line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from attrs import asdict, fields, has

from graphmerge.pipeline import downloads

if TYPE_CHECKING:
    from graphmerge.pipeline import Compiled
    from graphmerge.schedule.report_values import PlanReport

JSON_FORMAT_VERSION = 1
"""Raised when a field changes its meaning or goes away; see docs/plan-json.md."""


def plan_json(compiled: Compiled, report: PlanReport) -> str:
    """A plan as a JSON object."""
    content = {
        "format_version": JSON_FORMAT_VERSION,
        "recipe": compiled.recipe.origin,
        "method": compiled.recipe.methods,
        "seed": compiled.seed,
        "downloads": downloads(compiled, report.inputs),
    } | asdict(report, recurse=False)
    # Without indents for what is within: json writes those ten times as slowly.
    lines = (f"  {json.dumps(name)}: {json.dumps(_plain(v))}" for name, v in content.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def _plain(value: Any) -> Any:
    """The value; many values of one class as objects."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    if not value or not has(type(value[0])):
        return list(value)
    names = [field.name for field in fields(type(value[0]))]
    return [dict(zip(names, found, strict=True)) for found in map(attrgetter(*names), value)]
