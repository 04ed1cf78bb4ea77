"""`frozen`: attrs' own, but with one `__repr__` for all classes.

attrs writes and compiles the source of a `__repr__` for every class, which nearly no process ever
calls: with some 260 classes a tenth of what it takes to import graphmerge. `shown` gives the same
text, and looks for the fields when it is called.
"""

from __future__ import annotations

from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

import attrs

__all__ = ["frozen"]


@recursive_repr()
def shown(value: Any) -> str:
    """The class and the fields of a value, as the `__repr__` of attrs gives them."""
    fields = ", ".join(
        f"{field.name}={getattr(value, field.name, attrs.NOTHING)!r}"
        for field in attrs.fields(type(value))
        if field.repr
    )
    return f"{type(value).__qualname__.rsplit('>.', 1)[-1]}({fields})"


if TYPE_CHECKING:
    from attrs import frozen  # what it takes and gives is the same
else:

    def frozen(cls: type | None = None, **options: Any) -> Any:
        """A class decorator, alone or with the options of `attrs.frozen`."""
        if cls is None:
            return lambda cls: frozen(cls, **options)
        if "__repr__" not in vars(cls):
            cls.__repr__ = shown
        return attrs.frozen(cls, **options)
