// SPDX-License-Identifier: Apache-2.0
// exp, log and pow that give the same bits on every x86-64 level and compiler.
// (The C library's pick another kernel by CPU, so a decision could differ.)
// Accuracy: a few ulp; tested against long double in math_test.cc.
// sqrt, floor and fabs are exact by IEEE 754 and may be used from <cmath>.
#pragma once

namespace lodestar {

// exp(-inf)=0, exp(x>709.78)=+inf, NaN passes through.
double det_exp(double x);
// Natural logarithm. log(0)=-inf, log(x<0)=NaN, NaN passes through.
double det_log(double x);
// x >= 0. pow(x,0)=1; x < 0 gives NaN.
double det_pow(double x, double y);

}  // namespace lodestar
