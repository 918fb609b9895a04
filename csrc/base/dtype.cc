#include "csrc/base/dtype.h"

#include <array>

namespace pelton {
namespace {

struct DTypeRow {
  std::string_view name;
  size_t bytes;
};

constexpr std::array<DTypeRow, 15> kRows = {{{"", 0},
                                             {"BOOL", 1},
                                             {"UINT8", 1},
                                             {"UINT16", 2},
                                             {"UINT32", 4},
                                             {"UINT64", 8},
                                             {"INT8", 1},
                                             {"INT16", 2},
                                             {"INT32", 4},
                                             {"INT64", 8},
                                             {"FP16", 2},
                                             {"BF16", 2},
                                             {"FP32", 4},
                                             {"FP64", 8},
                                             {"BYTES", 0}}};

const DTypeRow& row_of(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  return index < kRows.size() ? kRows[index] : kRows[0];
}

}  // namespace

size_t dtype_bytes(DType dtype) { return row_of(dtype).bytes; }

std::string_view dtype_name(DType dtype) { return row_of(dtype).name; }

std::optional<DType> dtype_from_number(uint8_t number) {
  if (number == 0 || number >= kRows.size()) return std::nullopt;
  return static_cast<DType>(number);
}

}  // namespace pelton
