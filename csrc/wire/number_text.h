// Numbers as JSON text: the shortest form that reads back as the same value, and the inverse. The
// oracle is pyserver/pelton/codec/_numbers.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pelton {

// Each appends one number. Non-finite values: NaN, Infinity, -Infinity (as Triton writes them).
void append_int(int64_t value, std::string& out);
void append_uint(uint64_t value, std::string& out);
void append_f32(float value, std::string& out);
void append_f64(double value, std::string& out);
// FP16 and BF16 by their bits: the shortest decimal that reads back as those bits.
void append_f16(uint16_t bits, std::string& out);
void append_bf16(uint16_t bits, std::string& out);

}  // namespace pelton
