// The vector of the generic variants: 4 floats by the compiler's vector extension, which every
// target has (SSE2 on x86-64, NEON on aarch64). Same operations as vec__avx512.h; multiply-add
// rounds twice. Unnamed namespace: included by
// *__generic.cc only.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

struct Vec {
  typedef float F __attribute__((vector_size(16)));
  typedef int32_t I __attribute__((vector_size(16)));
  static constexpr int kWidth = 4;
  static constexpr bool kHasLookup = false;

  static F load(const float* p) {
    F v;
    std::memcpy(&v, p, sizeof(v));
    return v;
  }
  static void store(float* p, F v) { std::memcpy(p, &v, sizeof(v)); }
  static F load_first(const float* p, int64_t count) {
    F v = zero();
    for (int64_t i = 0; i < count; ++i) v[i] = p[i];
    return v;
  }
  static void store_first(float* p, F v, int64_t count) {
    for (int64_t i = 0; i < count; ++i) p[i] = v[i];
  }
  static F zero() { return F{0, 0, 0, 0}; }
  static F set(float x) { return F{x, x, x, x}; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F fma(F a, F b, F c) { return a * b + c; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F quotient(F a, F b) { return a / b; }
  static F round(F a) {
    // Adding and removing 1.5 * 2^23 rounds to the nearest integer for |a| < 2^22.
    const F magic = set(12582912.0f);
    return (a + magic) - magic;
  }
  static F scale_by_power_of_two(F a, F n) {
    const I bits = __builtin_convertvector(n, I) << 23;
    return reinterpret_cast<F>(reinterpret_cast<I>(a) + bits);
  }
  static F abs(F a) { return reinterpret_cast<F>(reinterpret_cast<I>(a) & INT32_MAX); }
  static F copy_sign(F magnitude, F sign) {
    return reinterpret_cast<F>(reinterpret_cast<I>(magnitude) |
                               (reinterpret_cast<I>(sign) & INT32_MIN));
  }
  static F select_greater(F a, F b, F yes, F no) { return a > b ? yes : no; }
  static float sum(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  static float largest(F a) {
    const float x = a[0] > a[2] ? a[0] : a[2];
    const float y = a[1] > a[3] ? a[1] : a[3];
    return x > y ? x : y;
  }
};

}  // namespace
