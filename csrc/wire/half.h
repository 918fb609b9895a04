// The 16-bit floats: FP16 (IEEE 754 binary16) and BF16 (the upper half of binary32), by their bits.
// Every rounding is to nearest, ties to even, as NumPy rounds.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace pelton {

inline double f16_to_f64(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 0x3FF;
  double value;
  if (exponent == 31) {
    value = mantissa == 0 ? HUGE_VAL : std::nan("");
  } else if (exponent == 0) {
    value = mantissa * 0x1p-24;
  } else {
    value = std::ldexp(mantissa + 0x400, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

inline uint16_t f64_to_f16(double value) {
  const auto wide = std::bit_cast<uint64_t>(value);
  const auto sign = static_cast<uint16_t>(wide >> 48 & 0x8000);
  const int exponent = static_cast<int>(wide >> 52 & 0x7FF) - 1023;
  const uint64_t mantissa = wide & ((uint64_t{1} << 52) - 1);
  if (exponent == 1024 && mantissa != 0) return sign | 0x7E00;
  if (exponent > 15) return sign | 0x7C00;
  if (exponent < -25) return sign;
  // Below 2^-14 the last place stays where it is: more bits are cut off.
  const int cut = exponent >= -14 ? 42 : 42 - 14 - exponent;
  const uint64_t whole = mantissa | uint64_t{1} << 52;
  const uint64_t rest = whole & ((uint64_t{1} << cut) - 1);
  const uint64_t half = uint64_t{1} << (cut - 1);
  uint64_t narrow = whole >> cut;
  narrow += rest > half || (rest == half && (narrow & 1) != 0) ? 1 : 0;
  // The leading one, at bit 10 of a normal value, adds 1 to the exponent; so does a carry.
  if (exponent >= -14) narrow += static_cast<uint64_t>(exponent + 14) << 10;
  return static_cast<uint16_t>(sign | narrow);
}

inline float bf16_to_f32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace pelton
