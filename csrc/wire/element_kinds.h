// What the elements of each datatype may be, and the words for it in problems.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "csrc/base/dtype.h"

namespace pelton {

// Calls `use` with a value of the type that holds the integers of `dtype`, if it has integers.
// False where it has none.
template <typename Use>
bool with_integer_type(DType dtype, Use use) {
  switch (dtype) {
    case DType::kUint8:
      return use(uint8_t{}), true;
    case DType::kUint16:
      return use(uint16_t{}), true;
    case DType::kUint32:
      return use(uint32_t{}), true;
    case DType::kUint64:
      return use(uint64_t{}), true;
    case DType::kInt8:
      return use(int8_t{}), true;
    case DType::kInt16:
      return use(int16_t{}), true;
    case DType::kInt32:
      return use(int32_t{}), true;
    case DType::kInt64:
      return use(int64_t{}), true;
    default:
      return false;
  }
}

inline bool is_float_dtype(DType dtype) {
  return dtype == DType::kFp16 || dtype == DType::kBf16 || dtype == DType::kFp32 ||
         dtype == DType::kFp64;
}

// "32-bit": what a number has to fit. REQUIRES: is_float_dtype(dtype).
inline std::string_view float_name(DType dtype) {
  if (dtype == DType::kFp16) return "16-bit";
  if (dtype == DType::kBf16) return "BF16";
  return dtype == DType::kFp32 ? "32-bit" : "64-bit";
}

}  // namespace pelton
