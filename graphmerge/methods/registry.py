"""The registered methods by name."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.recipe.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from graphmerge.methods.base import Method

_NAMES = (
    *("linear", "geometric_median", "ema", "wsm"),
    *("slerp", "nuslerp", "multislerp", "karcher", "nearswap"),
    *("task_arithmetic", "ties", "dare_linear", "dare_ties", "della", "della_linear"),
    *("breadcrumbs", "breadcrumbs_ties", "sce", "ram", "ramplus_tl"),
    *("consensus_ta", "magmax", "pcb", "cabs"),
    *("arcee_fusion", "model_stock", "metagpt", "nan", "localize_and_stitch"),
    *("emr", "emr_masks", "emr_restore", "lines"),
    *("expo", "train_difference", "add_perpendicular", "passthrough"),
    *("star", "tsv_m", "iso_c", "iso_cts", "wudi", "actmat", "cart", "fisher", "regmean"),
)
"""The methods of graphmerge itself, in the order in which they are listed; each is the `METHOD` of
the module of its name, which is imported when the method is first asked for."""


class _Methods(MutableMapping[str, "Method"]):
    """Methods by name; the built-in ones come first."""

    def __init__(self) -> None:
        self._known: dict[str, Method | None] = dict.fromkeys(_NAMES)

    def __getitem__(self, name: str) -> Method:
        method = self._known[name]
        if method is None:
            method = self._known[name] = import_module(f"graphmerge.methods.{name}").METHOD
        return method

    def __setitem__(self, name: str, method: Method) -> None:
        self._known[name] = method

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


BUILT_IN: Mapping[str, Method] = _Methods()
"""The methods of graphmerge itself."""
METHODS: MutableMapping[str, Method] = _Methods()
"""Every method that is known: what plug-ins have registered comes after the built-in ones."""


def register_method(method: Method) -> None:
    """Make a method known. Raises RecipeError where its name is taken."""
    taken = METHODS.get(method.name) or _operations().get(method.name)
    if taken is not None:
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
    return _found(_operations(), name, "operation", "$.op")


def _operations() -> Mapping[str, Method]:
    from graphmerge.methods.operations import OPERATIONS  # noqa: PLC0415 - few recipes have any

    return OPERATIONS


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
