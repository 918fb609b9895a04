// exp, tanh, sigmoid, GELU and the row loops over Vec that every f32 kernel shares. Included after
// one vec__<isa>.h.
//
// Polynomials and the rational were fitted for this project by iteratively reweighted least squares
// in float64 (docs/adr/0003-kernels-over-one-vector.md); tests/native/kernels measures their errors
// against libm in float64.
#pragma once

#include <cstdint>

#include "kernels/cpu/half_erf_table.h"
#include "kernels/include/activation.h"

namespace {

using F = Vec::F;
using pelton::kernels::Activation;

#define PELTON_INLINE inline __attribute__((always_inline))

// e^x; 2 ulp. Clamped to [-87.3, 88.0], so results are normal and finite: underflow gives 1.2e-38,
// not 0. NaN gives NaN. Here and below bounds come first: max(bound, x) and min(bound, x) return x
// when x is NaN (x86's MAXPS and MINPS return their second operand; the generic vector does the
// same).
PELTON_INLINE F exp_of(F x) {
  x = Vec::min(Vec::set(88.0f), Vec::max(Vec::set(-87.3f), x));
  const F n = Vec::round(Vec::mul(x, Vec::set(1.44269504f)));
  F r = Vec::fma(n, Vec::set(-0.693359375f), x);
  r = Vec::fma(n, Vec::set(2.12194440e-4f), r);
  F p = Vec::set(1.383683877e-03f);
  p = Vec::fma(p, r, Vec::set(8.374815807e-03f));
  p = Vec::fma(p, r, Vec::set(4.166822508e-02f));
  p = Vec::fma(p, r, Vec::set(1.666641980e-01f));
  p = Vec::fma(p, r, Vec::set(4.999999106e-01f));
  p = Vec::fma(p, r, Vec::set(1.0f));
  p = Vec::fma(p, r, Vec::set(1.0f));
  return Vec::scale_by_power_of_two(p, n);
}

PELTON_INLINE F sigmoid_of(F x) {
  return Vec::quotient(Vec::set(1.0f), Vec::add(Vec::set(1.0f), exp_of(Vec::sub(Vec::zero(), x))));
}

// tanh|x| = (1 - e) / (1 + e) with e = exp(-2|x|).
PELTON_INLINE F tanh_of(F x) {
  const F e = exp_of(Vec::mul(Vec::abs(x), Vec::set(-2.0f)));
  const F one = Vec::set(1.0f);
  return Vec::copy_sign(Vec::quotient(Vec::sub(one, e), Vec::add(one, e)), x);
}

// erf(x / sqrt 2) / 2 by an odd rational of degree 11/10 on |x| <= 5.5; 1/2 with x's sign beyond.
PELTON_INLINE F half_erf_of(F x) {
  const F limit = Vec::set(kHalfErfLimit);
  const F c = Vec::min(limit, Vec::max(Vec::set(-5.5f), x));
  const F t = Vec::mul(c, c);
  F p = Vec::set(2.274935440e-08f);
  F q = Vec::set(1.197503138e-06f);
  p = Vec::fma(p, t, Vec::set(6.352112450e-06f));
  q = Vec::fma(q, t, Vec::set(7.364751218e-05f));
  p = Vec::fma(p, t, Vec::set(1.688258053e-04f));
  q = Vec::fma(q, t, Vec::set(1.884445781e-03f));
  p = Vec::fma(p, t, Vec::set(4.677261692e-03f));
  q = Vec::fma(q, t, Vec::set(2.864588238e-02f));
  p = Vec::fma(p, t, Vec::set(3.385266662e-02f));
  q = Vec::fma(q, t, Vec::set(2.515219748e-01f));
  p = Vec::fma(p, t, Vec::set(3.989422321e-01f));
  q = Vec::fma(q, t, Vec::set(1.0f));
  F h = Vec::quotient(Vec::mul(c, p), q);
  h = Vec::select_greater(Vec::abs(x), limit, Vec::copy_sign(Vec::set(0.5f), x), h);
  return h;
}

// The same from a table in registers, where the vector has one: half the operations.
template <typename V>
PELTON_INLINE F half_erf_from_table(F x) {
  const F bounded = V::min(V::set(5.6f), V::abs(x));
  const F u = V::fma(bounded, V::set(kHalfErfIntervals / kHalfErfLimit), V::set(-0.5f));
  const F magic = V::set(12582912.0f);  // 1.5 * 2^23: the sum's low bits are round(u)
  const F index = V::add(u, magic);
  const F t = V::sub(u, V::sub(index, magic));
  F h = V::fma(V::lookup(kHalfErf3, index), t, V::lookup(kHalfErf2, index));
  h = V::fma(h, t, V::lookup(kHalfErf1, index));
  h = V::fma(h, t, V::lookup(kHalfErf0, index));
  return V::copy_sign(h, x);
}

// x * Phi(x) = x/2 + x * erf(x / sqrt 2) / 2.
template <typename V>
PELTON_INLINE F gelu_erf_of(F x) {
  F h;
  if constexpr (V::kHasLookup) {
    h = half_erf_from_table<V>(x);
  } else {
    h = half_erf_of(x);
  }
  return V::fma(x, h, V::mul(x, V::set(0.5f)));
}

// x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)), which equals the tanh form.
PELTON_INLINE F gelu_tanh_of(F x) {
  const F c = Vec::min(Vec::set(12.0f), Vec::max(Vec::set(-12.0f), x));
  const F cubic = Vec::fma(Vec::mul(Vec::mul(c, c), c), Vec::set(0.044715f), c);
  return Vec::mul(x, sigmoid_of(Vec::mul(cubic, Vec::set(1.5957691216f))));
}

template <Activation kActivation>
PELTON_INLINE F activation_of(F x) {
  if constexpr (kActivation == Activation::kRelu) return Vec::max(Vec::zero(), x);
  if constexpr (kActivation == Activation::kGeluErf) return gelu_erf_of<Vec>(x);
  if constexpr (kActivation == Activation::kGeluTanh) return gelu_tanh_of(x);
  if constexpr (kActivation == Activation::kTanh) return tanh_of(x);
  if constexpr (kActivation == Activation::kSigmoid) return sigmoid_of(x);
  if constexpr (kActivation == Activation::kSilu) return Vec::mul(x, sigmoid_of(x));
  return x;
}

// Calls body(offset, load, store) for each vector of a row, the last one partial. `load(p)` and
// `store(p, v)` touch only the lanes of the row.
template <typename Body>
PELTON_INLINE void for_each_vector(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + Vec::kWidth <= count; i += Vec::kWidth) {
    body(i, [](const float* p) { return Vec::load(p); }, [](float* p, F v) { Vec::store(p, v); });
  }
  const int64_t rest = count - i;
  if (rest > 0) {
    body(
        i, [rest](const float* p) { return Vec::load_first(p, rest); },
        [rest](float* p, F v) { Vec::store_first(p, v, rest); });
  }
}

template <Activation kActivation>
void activate_rows_as(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows,
                      int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * x_stride;
    float* to = y + r * y_stride;
    for_each_vector(columns, [&](int64_t i, auto load, auto store) {
      store(to + i, activation_of<kActivation>(load(from + i)));
    });
  }
}

void activate_rows(Activation activation, const float* x, int64_t x_stride, float* y,
                   int64_t y_stride, int64_t rows, int64_t columns) {
  switch (activation) {
    case Activation::kNone:
      return activate_rows_as<Activation::kNone>(x, x_stride, y, y_stride, rows, columns);
    case Activation::kRelu:
      return activate_rows_as<Activation::kRelu>(x, x_stride, y, y_stride, rows, columns);
    case Activation::kGeluErf:
      return activate_rows_as<Activation::kGeluErf>(x, x_stride, y, y_stride, rows, columns);
    case Activation::kGeluTanh:
      return activate_rows_as<Activation::kGeluTanh>(x, x_stride, y, y_stride, rows, columns);
    case Activation::kTanh:
      return activate_rows_as<Activation::kTanh>(x, x_stride, y, y_stride, rows, columns);
    case Activation::kSigmoid:
      return activate_rows_as<Activation::kSigmoid>(x, x_stride, y, y_stride, rows, columns);
    case Activation::kSilu:
      return activate_rows_as<Activation::kSilu>(x, x_stride, y, y_stride, rows, columns);
  }
}

}  // namespace
