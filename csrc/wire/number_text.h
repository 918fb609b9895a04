// Numbers as JSON text: the shortest form that reads back as the same value, and the inverse. The
// oracle is pyserver/pelton/codec/_numbers.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pelton {

// Room for any number that the functions below write.
inline constexpr size_t kNumberBytesMax = 32;

// Each writes one number to `out`, which has room for kNumberBytesMax, and returns its end.
// Non-finite values: NaN, Infinity, -Infinity (as Triton writes them). Floats are laid out as
// Python's repr does: 1.0, 1e-07, 1e+16.
char* write_int(int64_t value, char* out);
char* write_uint(uint64_t value, char* out);
char* write_f32(float value, char* out);
char* write_f64(double value, char* out);
// FP16 and BF16 by their bits: the shortest decimal that reads back as those bits (of BF16 values
// under 1e-20 or over 1e24: as the same FP32 value).
char* write_f16(uint16_t bits, char* out);
char* write_bf16(uint16_t bits, char* out);

// Each appends one number.
void append_int(int64_t value, std::string& out);
void append_uint(uint64_t value, std::string& out);
void append_f32(float value, std::string& out);
void append_f64(double value, std::string& out);
void append_f16(uint16_t bits, std::string& out);
void append_bf16(uint16_t bits, std::string& out);

// An integer as written. `is_big`: the magnitude does not fit 64 bits, and `magnitude` says
// nothing. -0 is 0.
struct WrittenInteger {
  uint64_t magnitude = 0;
  bool is_negative = false;
  bool is_big = false;
};

// Both read a number that the text begins with, as JsonDocument takes it, literals included, and
// return its end. REQUIRES: there is one.
//
// The float64 nearest to it; infinite where it is too large. -0 without fraction or exponent is 0,
// since Python reads an integer.
const char* read_number(const char* at, const char* end, double& value);
// REQUIRES: it is written as an integer.
const char* read_integer_text(const char* at, const char* end, WrittenInteger& value);

}  // namespace pelton
