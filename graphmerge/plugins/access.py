"""Whether a function over tensors may be cut into tiles as it says: found by trying."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from graphmerge.errors import Problem, RecipeError
from graphmerge.graph import Access
from graphmerge.ops.custom import place_of

if TYPE_CHECKING:
    import torch

    from graphmerge.ops.custom import Custom

_PROBE_ROWS = 101
_PROBE_COLUMNS = 16
_CUTS = {Access.ROWS: (64, 7), Access.ELEMENTWISE: (1024, 115)}
"""Where vectors of any width end, and where they do not: in rows, in elements."""
_CLOSE = 1e-4
"""How far apart results may be of which one was computed by vector instructions and one was not."""


def access_check(op: Custom, count: int) -> None:
    """Check on random tensors that a function may be cut into tiles as it says.

    Raises:
        RecipeError: pieces give something else than the whole, or the inputs are written to.
    """
    _check_access(op, count)


@lru_cache(maxsize=256)
def _check_access(op: Custom, count: int) -> None:
    import torch  # noqa: PLC0415 - only plans with such a method need it

    generator = torch.Generator().manual_seed(0)
    shape = (_PROBE_ROWS, _PROBE_COLUMNS)
    tensors = [torch.randn(shape, generator=generator) for _ in range(count)]
    if op.access is Access.ELEMENTWISE:
        tensors = [x.reshape(-1) for x in tensors]
    kept = [x.clone() for x in tensors]
    whole = _called(op, tensors).clone()
    if not all(torch.equal(x, y) for x, y in zip(tensors, kept, strict=True)):
        what = f"method {op.name} writes to its inputs"
        raise RecipeError(
            Problem(what, place_of(op.function), hint="copy a tensor before changing it")
        )
    if not _same(whole, _called(op, tensors)):
        what = f"method {op.name} gives another result when it is called again"
        raise RecipeError(Problem(what, place_of(op.function), hint="draw from a seeded generator"))
    if op.access is not Access.WHOLE:
        _check_pieces(op, tensors, whole)


def _check_pieces(op: Custom, tensors: list[torch.Tensor], whole: torch.Tensor) -> None:
    """Compare with two pieces, cut where tiles may be cut and somewhere else.

    Elements that do not fill a vector may be rounded in another way (torch's pow, sigmoid). Tiles
    end where vectors do, so that pieces must have the same bytes there; elsewhere they may differ
    by that.
    """
    import torch  # noqa: PLC0415 - only plans with such a method need it

    even, ragged = (
        torch.cat(
            [_called(op, [x[:cut] for x in tensors]), _called(op, [x[cut:] for x in tensors])]
        )
        for cut in _CUTS[op.access]
    )
    expected, found = whole.double(), ragged.double()  # booleans have no distance
    close = torch.allclose(found, expected, rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
    if not (close and _same(whole, even)):
        raise RecipeError(
            Problem(
                f"method {op.name} is not {op.access.value} as it says",
                place_of(op.function),
                got="another result for the pieces of a tensor than for the whole",
                hint='declare access="rows" or access="whole", or let it look at single elements',
            )
        )


def _called(op: Custom, tensors: list[torch.Tensor]) -> torch.Tensor:
    import torch  # noqa: PLC0415 - only plans with such a method need it

    from graphmerge.kernels.custom import result_of  # noqa: PLC0415 - as above

    with torch.inference_mode():
        return result_of(op, list(tensors))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
