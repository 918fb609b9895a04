// DType: every element type of the Open Inference Protocol. Numbers are part of the plan format:
// never reuse one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pelton {

enum class DType : uint8_t {
  kBool = 1,
  kUint8 = 2,
  kUint16 = 3,
  kUint32 = 4,
  kUint64 = 5,
  kInt8 = 6,
  kInt16 = 7,
  kInt32 = 8,
  kInt64 = 9,
  kFp16 = 10,
  kBf16 = 11,
  kFp32 = 12,
  kFp64 = 13,
  kBytes = 14,
};

// Bytes of one element; 0 for kBytes (its elements have no fixed width) and for values outside the
// enum.
size_t dtype_bytes(DType dtype);
// The protocol's name ("FP32"); empty for values outside the enum.
std::string_view dtype_name(DType dtype);
// The DType of a byte read from a file; nullopt when no DType has that number.
std::optional<DType> dtype_from_number(uint8_t number);

}  // namespace pelton
