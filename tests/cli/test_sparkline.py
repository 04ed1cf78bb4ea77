import pytest

from graphmerge.reporting.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 8, ""),
        ([5], 8, "▁"),
        ([5, 5, 5], 8, "▁▁▁"),
        ([0, 7], 8, "▁█"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([0, 9, 0, 0], 2, "█▁"),
    ],
)
def test_bars(values, width, bars):
    assert sparkline(values, width=width) == bars
