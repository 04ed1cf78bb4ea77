"""The tables by which native code and statistics are imported when an op needs them."""

import pkgutil
from importlib import import_module

import pytest

import graphmerge.native
import graphmerge.statistics
from graphmerge.native import registry as native
from graphmerge.statistics import registry as statistics


def registered(package, *registries):
    """Names of the op classes that all modules of a package register."""
    for found in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{found.name}")
    return {op.__name__ for registry in registries for op in registry}


@pytest.mark.parametrize(
    ("package", "registry", "known"),
    [
        (graphmerge.native, native, (native._LOWERINGS,)),
        (
            graphmerge.statistics,
            statistics,
            (statistics._FOLDS, statistics._REDUCTIONS, statistics._SMALL),
        ),
    ],
    ids=["native", "statistics"],
)
def test_the_table_names_every_op_and_the_module_that_registers_it(package, registry, known):
    assert registered(package, *known) == set(registry._MODULE_OF)
    for op, module in registry._MODULE_OF.items():
        assert op in vars(import_module(f"{package.__name__}.{module}")), (op, module)
