#!/usr/bin/env python3
"""Makes gauss_table.h: the upper half of the Gaussian quantile, one polynomial an octave.

    python3 lib/rng/gauss_table.py > lib/rng/gauss_table.h      (numpy)

With x = m 2^k, 1 <= m < 2, the polynomial of octave k is near the z that x 2^-32 of the
Gaussian lies above.  It is minimax by Lawson's iteration (weights grow with the error) on
Chebyshev's nodes, its coefficients are rounded to f32; in the octave that ends at z = 0 it is
fitted as (2 - m) times a polynomial, so that the two halves of the density meet.  Written
beside each octave: the largest error of z found with the arithmetic of noise.c, and that
error times the density there, which is the error of the distribution function.
"""
import math
import sys
from statistics import NormalDist  # Wichura's AS 241: 16 digits

import numpy as np
from numpy.polynomial import chebyshev, polynomial

DEGREE, NODES, TRIALS = 5, 400, 20000
quantile = NormalDist().inv_cdf


def exact(x):
    return np.array([-quantile(v * 2.0**-32) for v in x])


def fit(k):
    """f32 coefficients in m, lowest first."""
    t = np.cos((np.arange(NODES) + 0.5) * np.pi / NODES)
    m = 1.5 + t / 2
    z = exact(m * 2.0**k)
    factor = 2 - m if k == 30 else np.ones(NODES)
    basis = chebyshev.chebvander(t, DEGREE - (k == 30)) * factor[:, None]
    weight = np.ones(NODES) / NODES
    for _ in range(200):
        root = np.sqrt(weight)
        c = np.linalg.lstsq(basis * root[:, None], z * root, rcond=None)[0]
        weight *= abs(basis @ c - z) + 1e-30
        weight /= weight.sum()
    p = polynomial.Polynomial(chebyshev.cheb2poly(c))(polynomial.Polynomial([-3, 2]))
    if k == 30:
        p *= polynomial.Polynomial([2, -1])
    return p.coef.astype(np.float32)


def horner(c, m):
    """As noise.c does it: a product of f32 is exact in double, each fma rounds to f32."""
    p = np.full(len(m), c[DEGREE])
    for d in range(DEGREE - 1, -1, -1):
        p = (p.astype(float) * m.astype(float) + float(c[d])).astype(np.float32)
    return p.astype(float)


def places(k):
    """Values of x in octave k: all the odd ones, or evenly spaced ones, and the ends."""
    if k < 14:
        return np.arange(1, 2 ** (k + 1), 2)[2**k // 2 :].astype(float)
    m = np.concatenate(([1, 2 - 2.0**-23], 1 + (np.arange(TRIALS) + 0.5) / TRIALS))
    return m.astype(np.float32).astype(float) * 2.0**k


def literal(v):
    digits, power = float(v).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{power}f"


def main():
    table = np.zeros((DEGREE + 1, 32), np.float32)
    notes, moments = [], np.zeros(3)
    for k in range(31):
        c = fit(k)
        table[:, (k - 1) % 32] = c
        x = places(k)
        z, got = exact(x), horner(c, (x / 2.0**k).astype(np.float32))
        e = abs(got - z)
        cdf = e * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        notes.append(f" *   {k:2d}   {z.min():.4f} .. {z.max():.4f}   {e.max():.1e}   {cdf.max():.1e}")
        moments += 2.0 ** (max(k, 1) - 31) * np.array([np.mean(got**p - z**p) for p in (2, 4, 6)])
    # |s| > 2^31 - 64 is 2^31 as f32: the mean of z over the 64 integers below.
    table[0, 30] = np.float32(32 * 2.0**-32 * math.sqrt(2 * math.pi))
    print(f"""/* Coefficients of the Gaussian quantile: see noise.h.  Made by gauss_table.py with numpy {np.__version__},
 * Python {sys.version.split()[0]}: do not edit.
 *
 * Row d: the coefficients of m^d of all octaves.  Column (k + 127) % 32: octave k of |s|, that is
 * the low five bits of the exponent of |s| as f32; column 30 is 2^31, to which the largest |s|
 * round.  Errors against the exact quantile move the second, fourth and sixth moments by
 * {moments[0]:.0e}, {moments[1]:.0e} and {moments[2]:.0e}.
 *
 *    k   |z|                error     of the distribution function""")
    print("\n".join(reversed(notes)))
    print(""" */
#ifndef ZF_RNG_GAUSS_TABLE_H
#define ZF_RNG_GAUSS_TABLE_H

enum { ZF_GAUSS_DEGREE = %d };

/* clang-format off */
static const float zf_gauss_table[ZF_GAUSS_DEGREE + 1][32] = {""" % DEGREE)
    for row in table:
        print("  {")
        for i in range(0, 32, 4):
            print("    " + " ".join(literal(v) + "," for v in row[i : i + 4]))
        print("  },")
    print("};\n/* clang-format on */\n\n#endif")


main()
