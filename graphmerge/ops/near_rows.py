"""The divergence of rows that are near each other, in float32, defined to the last bit.

With d = x - y and Q = e^y, e^x is Q (1 + g), where g = e^d - 1 is small and right to float32's
last bits, however small it is. So is what follows from it, and no log is taken of a number that
has been rounded to nearly 1:

    S = sum Q,  T = sum Q g,  R = S + T,  p - q = Q (g - T / S) / R,  q = Q / S + FLOOR,
    s = (p - q) / (p + q),  p log(p / q) - (p - q) = (p - q) s (1 + (s + s s) w(s s))

The last line is log(p / q) = 2 atanh(s), with w(z) = (atanh(s) / s - 1) / z. p and q are taken R
times as large. Each operation is rounded to float32 on its own, in the order of the text, and none
is fused with another:

    k = round(y LOG2_E),  r = (y - k LN2_HIGH) - k LN2_LOW,  Q = 2^k (1 + (r + (r r) e(r)))
    g = d + (d d) v(d)
    c = Q (g - mean),  u = Q ratio + floor,  s = c / (u + c),  z = s s
    term = c s + (c s) ((s + z) w(z))

Polynomials go by Horner's rule. Sums (of Q, of Q g and of the terms) are those of the lanes of
`graphmerge.ops.importance`: in float32 over SEGMENT_ELEMENTS entries of a row, then in float64 over
segments. In float64, then rounded to float32: ratio = 2 (R / S), floor = TWICE_FLOOR R,
mean = T / S. The divergence is (sum of terms / R) (ratio rounded / ratio), in float64, and 0 below
LEAST (T / S)^2: that is what rounding leaves where all d are the same, as in rows of one entry.

Rows are near if |y| <= LARGEST and |d| <= CHANGE everywhere, which those of a model and its
fine-tune nearly always are. Errors of terms are random, and one in T has no effect to first order.
With D the divergence and e = 2.5e-7 times the largest |d|, that of D is below

    4e-7 D + e sqrt(2 D) + e e,

sqrt(2 D) being how far apart the d are, to first order. Of rows of thousands of entries it is some
1e-8 D. The importance rounds D to float32, by 6e-8.
"""

from __future__ import annotations

LARGEST = 32.0
"""Of an entry: with it, e^y needs no common factor."""
CHANGE = 0.125
"""Of a difference."""
LEAST = 2.0**-44
"""Of a divergence, over the square of the mean change."""
SEGMENT_ELEMENTS = 256
"""Changing it changes results in the last bit."""
TWICE_FLOOR = 2e-8
"""A floor below p and one below q."""

LOG2_E = float.fromhex("0x1.715476p+0")
"""1 / ln 2."""
LN2_HIGH = float.fromhex("0x1.62e4p-1")
"""The leading 15 bits of ln 2: times any k it is exact."""
LN2_LOW = float.fromhex("0x1.7f7d1cp-20")
"""The rest of it."""
EXPONENT_SHIFT = 23
"""Bits below the exponent in a float32."""
ROUNDING = 1.5 * 2.0**EXPONENT_SHIFT + 127
"""Added to a small number it leaves that, rounded, with the exponent's bias in the lowest bits."""

EXP_COEFFICIENTS = (
    0.0013933676527813077,
    0.008363197557628155,
    0.041666463017463684,
    0.16666576266288757,
    0.5,
)
"""e, highest power first: (e^r - 1 - r) / r^2 at the Chebyshev points of |r| <= ln 2 / 2; with it
e^r is right to 1.2e-8."""
CHANGE_COEFFICIENTS = (
    0.00833720900118351,
    0.04168837517499924,
    0.1666666567325592,
    0.5,
)
"""v, the same of |d| <= CHANGE; with it g is right to 1e-8 of itself."""
LOG_COEFFICIENTS = (
    0.1455135941505432,
    0.19998428225517273,
    0.3333333432674408,
)
"""w, highest power first, at the Chebyshev points of 0 <= z <= tanh(CHANGE)^2; with it a term is
right to 3e-9 of itself."""
