#include "csrc/plan/checks.h"

#include "csrc/base/hash.h"
#include "csrc/plan/format.h"

namespace pelton {
namespace {

std::string hex(uint64_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t digit = 0; digit < 16; ++digit) text[15 - digit] = kDigits[(value >> 4 * digit) & 15];
  return text;
}

std::string dim_text(int64_t dim) {
  if (dim == plan_format::kDimRows) return "rows";
  if (dim == plan_format::kDimTokens) return "tokens";
  return std::to_string(dim);
}

}  // namespace

Status plan_fault(const std::string& field, const std::string& expected, const std::string& got) {
  return corrupt_plan(field + ": expected " + expected + ", got " + got);
}

Status within(const std::string& place, const Status& status) {
  return Status(status.code(), place + ": " + std::string(status.message()));
}

Status expect_equal(const std::string& field, uint64_t expected, uint64_t got) {
  if (expected == got) return {};
  return plan_fault(field, std::to_string(expected), std::to_string(got));
}

Status expect_at_most(const std::string& field, uint64_t most, uint64_t got) {
  if (got <= most) return {};
  return plan_fault(field, "at most " + std::to_string(most), std::to_string(got));
}

Status expect_checksum(const std::string& field, uint64_t expected,
                       std::span<const std::byte> bytes) {
  const uint64_t got = xxh64(bytes.data(), bytes.size());
  if (got == expected) return {};
  return plan_fault(field + " checksum", hex(expected), hex(got));
}

Status expect_zeros(const std::string& field, std::span<const std::byte> bytes) {
  for (size_t index = 0; index < bytes.size(); ++index) {
    if (bytes[index] == std::byte{0}) continue;
    return plan_fault(
        field, "zeros",
        std::to_string(std::to_integer<int>(bytes[index])) + " at byte " + std::to_string(index));
  }
  return {};
}

std::string dims_text(std::span<const int64_t> dims) {
  std::string text = "[";
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += dim_text(dims[axis]);
  }
  return text + "]";
}

}  // namespace pelton
