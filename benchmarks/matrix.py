"""Seconds of the rules for matrices beside their factorisations alone: one thread, small matrices.

    python benchmarks/matrix.py [--rows 768] [--columns 768] [--models 3] [--rounds 5]

What a rule must do whatever else it does: eigenvectors of the Gram matrix of every matrix that it
takes apart, or the equations of a regression and their solution. The two are timed in turns, and
the least of the rounds counts. The bar is 1.5 times.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import torch

from graphmerge.kernels.factorise import least_squares, spectrum, with_ridge
from graphmerge.kernels.matrix_rules import merged_lying
from graphmerge.ops.matrix_rules import ActMat, Cart, IsoC, IsoCts, Star, TsvM, Wudi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

BAR = 1.5


def each(matrices: Sequence[Tensor]) -> None:
    """Take every matrix apart."""
    for x in matrices:
        spectrum(x.double())


def each_and_polar(matrices: Sequence[Tensor]) -> None:
    """Take every matrix apart, then make as many left and right vectors orthogonal."""
    each([*matrices, matrices[0], matrices[0]])


def sum_each_and_polar(matrices: Sequence[Tensor]) -> None:
    """The same, and the sum before."""
    each([*matrices, *matrices[:1] * 3])


def one(matrices: Sequence[Tensor]) -> None:
    """Take the sum apart."""
    spectrum(sum(x.double() for x in matrices))


def equations(solve: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Sequence[Tensor]], None]:
    """Form the equations of a regression over the columns and solve them."""

    def run(matrices: Sequence[Tensor]) -> None:
        wide = [x.double() for x in matrices]
        grams = [x.T @ x for x in wide]
        right = sum(x @ gram for x, gram in zip(wide, grams, strict=True))
        system = sum(grams)
        system.diagonal().add_(1e-3)
        solve(system, right.T)

    return run


def least_seconds(work: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The least time of each of the pieces of work, which take turns."""
    least = [float("inf")] * len(work)
    for _ in range(rounds):
        for index, piece in enumerate(work):
            started = time.process_time()  # one thread; others on the machine do not count
            piece()
            least[index] = min(least[index], time.process_time() - started)
    return least


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("rows", 768), ("columns", 768), ("models", 3), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape = (given.rows, given.columns)
    matrices = [torch.randn(shape, generator=generator) for _ in range(given.models)]
    rules = {
        "star": (Star(0.4), each),
        "tsv_m": (TsvM(), each_and_polar),
        "iso_c": (IsoC(), one),
        "iso_cts": (IsoCts(0.8), sum_each_and_polar),
        "wudi": (Wudi(1e-8), equations(with_ridge)),
        "actmat": (ActMat((1.0,) * given.models), equations(least_squares)),
        "cart": (Cart(0.04, 1.0), each),
    }
    print(f"{given.models} matrices of {given.rows} x {given.columns}, one thread")
    print(f"{'method':8} {'seconds':>8} {'alone':>8} {'ratio':>6}  bar {BAR}")
    for name, (rule, alone) in rules.items():
        work = (lambda r=rule: merged_lying(r, matrices), lambda a=alone: a(matrices))
        whole, least = least_seconds(work, given.rounds)
        print(f"{name:8} {whole:8.3f} {least:8.3f} {whole / least:6.2f}")


if __name__ == "__main__":
    main()
