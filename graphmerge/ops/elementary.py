"""exp, exp - 1 and log in float64, defined to the last bit: sums and products in a fixed order.

Libraries round them differently from one version and processor to the next. Every executor does
the operations below, each rounded once, none of them fused, and so gives the same bits.

    exp(x), x <= 0:   k = round(x LOG2_E),  r = (x - k LN2_HIGH) - k LN2_LOW,
                      2^k (1 + (r + r r q(r)));  0 where x < LEAST_EXPONENT
    exp(x) - 1:       2^k (r + r r q(r)) + (2^k - 1);  -1 where x < LEAST_EXPONENT
    log(a / b):       k = round(L(a) - L(b)),  s = (a - 2^k b) / (a + 2^k b),  z = s s,
                      k LN2_HIGH + (2 s + (2 s (z w(z)) + k LN2_LOW))

L(a) is the bits of a as an integer over 2^52: log2 to within 0.09, so |r| < 0.347 and |s| <= 0.2.
Rounding is an addition of 1.5 2^52, or half of 2^52 in the bits. The polynomials q and w go by
Horner's rule. Errors are below 2 units in the last place. log(a / b) has them also where a and b
are nearly equal, since their difference is exact, and exp(x) - 1 where x is nearly 0, since k is 0.
The log takes 1e-300 < a, b < 1e300 whose ratio is within the same bounds, exp any x.
"""

from __future__ import annotations

LOG2_E = 1.4426950408889634
"""1 / ln 2."""
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
"""The leading bits of ln 2: times any k it is exact."""
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
"""The rest of it."""
LEAST_EXPONENT = -708.0
"""Below it e^x is near the end of float64's range, and taken for 0."""
EXPONENT_SHIFT = 52
"""Bits below the exponent in a float64."""
EXPONENT_BIAS = 1023
"""What the exponent's bits are more than the exponent."""
ROUNDING = 1.5 * 2.0**EXPONENT_SHIFT + EXPONENT_BIAS
"""Added to a small number it leaves that, rounded, with the bias in the lowest bits."""
WHOLE = 2.0**EXPONENT_SHIFT
"""A float64 in whose lowest bits an integer may be put, to have their sum."""
RATIO_BITS = (EXPONENT_BIAS << EXPONENT_SHIFT) + (1 << (EXPONENT_SHIFT - 1))
"""Added to a difference of bits, so that the exponent's are those of 2^k."""
EXPONENT_BITS = 0x7FF << EXPONENT_SHIFT
"""Where they are."""

EXP_COEFFICIENTS = (
    2.510038549551032e-08,
    2.7620088445409746e-07,
    2.7557268459997064e-06,
    2.4801521295954376e-05,
    0.00019841269863053618,
    0.0013888888917213717,
    0.008333333333330062,
    0.04166666666662413,
    0.16666666666666669,
    0.5000000000000001,
)
"""q, highest power first: (e^r - 1 - r) / r^2 at the Chebyshev points of |r| <= ln 2 / 2; with it
e^r is right to 1.6e-17."""
LOG_COEFFICIENTS = (
    0.07564052597042638,
    0.0764132067982866,
    0.09092326940775801,
    0.11111090979536245,
    0.14285714421441292,
    0.19999999999657492,
    0.33333333333333476,
)
"""w, highest power first: (atanh(s) / s - 1) / z at the Chebyshev points of 0 <= z <= 0.0403; with
it atanh(s) is right to 5.8e-17 of itself."""
