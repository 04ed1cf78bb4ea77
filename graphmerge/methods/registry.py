"""The registered methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.methods import (
    actmat,
    add_perpendicular,
    arcee_fusion,
    breadcrumbs,
    breadcrumbs_ties,
    cabs,
    cart,
    consensus_ta,
    dare_linear,
    dare_ties,
    della,
    della_linear,
    ema,
    emr,
    emr_masks,
    emr_restore,
    expo,
    fisher,
    geometric_median,
    iso_c,
    iso_cts,
    karcher,
    linear,
    lines,
    localize_and_stitch,
    magmax,
    metagpt,
    model_stock,
    multislerp,
    nan,
    nearswap,
    nuslerp,
    passthrough,
    pcb,
    ram,
    ramplus_tl,
    regmean,
    sce,
    slerp,
    star,
    task_arithmetic,
    ties,
    train_difference,
    tsv_m,
    wsm,
    wudi,
)
from graphmerge.methods.operations import OPERATIONS
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphmerge.methods.base import Method

BUILT_IN: dict[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (
        *(linear, geometric_median, ema, wsm),
        *(slerp, nuslerp, multislerp, karcher, nearswap),
        *(task_arithmetic, ties, dare_linear, dare_ties, della, della_linear),
        *(breadcrumbs, breadcrumbs_ties, sce, ram, ramplus_tl, consensus_ta, magmax, pcb, cabs),
        *(arcee_fusion, model_stock, metagpt, nan, localize_and_stitch),
        *(emr, emr_masks, emr_restore, lines),
        *(expo, train_difference, add_perpendicular, passthrough),
        *(star, tsv_m, iso_c, iso_cts, wudi, actmat, cart, fisher, regmean),
    )
}
"""The methods of graphmerge itself, in the order in which they are listed."""
METHODS: dict[str, Method] = dict(BUILT_IN)
"""Every method that is known: what plug-ins have registered comes after the built-in ones."""


def register_method(method: Method) -> None:
    """Make a method known. Raises RecipeError where its name is taken."""
    if method.name in METHODS or method.name in OPERATIONS:
        taken = METHODS.get(method.name) or OPERATIONS[method.name]
        raise RecipeError(
            Problem(
                f"there is a method {method.name!r} already",
                method.formula,
                hint=f"choose another name; the other one is {taken.formula}",
            )
        )
    METHODS[method.name] = method


def find_method(name: str, *, also: tuple[str, ...] = ()) -> Method:
    """The method of this name.

    Args:
        name: Its name.
        also: Names of methods that are not known yet but could be, for the message.

    Raises:
        RecipeError: there is none; with the nearest names.
    """
    return _found(METHODS, name, "merge method", "$.merge_method", also)


def find_operation(name: str) -> Method:
    """The operation of this name. Raises RecipeError with the nearest names for an unknown one."""
    return _found(OPERATIONS, name, "operation", "$.op")


def _found(
    known: Mapping[str, Method], name: str, kind: str, where: str, also: tuple[str, ...] = ()
) -> Method:
    if name not in known:
        names = tuple(dict.fromkeys((*known, *also)))
        what, wanted = f"unknown {kind} {name!r}", "one of " + ", ".join(names)
        raise RecipeError(Problem(what, where, wanted=wanted, hint=suggest(name, names)))
    return known[name]


def parameter_names() -> frozenset[str]:
    """Names of the parameters of all methods."""
    return frozenset(spec.name for method in METHODS.values() for spec in method.parameters)
