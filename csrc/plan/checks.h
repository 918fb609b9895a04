// What the checks of a plan file share: comparisons that name the field, what was expected and
// what came. Internal to plan. Pure; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "csrc/base/status.h"

namespace pelton {

// kCorruptPlan "<field>: expected <expected>, got <got>".
Status plan_fault(const std::string& field, const std::string& expected, const std::string& got);
// Puts what an error is about before it. REQUIRES: !status.ok().
Status within(const std::string& place, const Status& status);

Status expect_equal(const std::string& field, uint64_t expected, uint64_t got);
Status expect_at_most(const std::string& field, uint64_t most, uint64_t got);
Status expect_checksum(const std::string& field, uint64_t expected,
                       std::span<const std::byte> bytes);
Status expect_zeros(const std::string& field, std::span<const std::byte> bytes);

// "[tokens, 384]", for messages.
std::string dims_text(std::span<const int64_t> dims);

// REQUIRES: `alignment` is a power of two, `value` below 2^63.
inline uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// REQUIRES: (index + 1) * sizeof(Record) <= bytes.size().
template <typename Record>
Record load_record(std::span<const std::byte> bytes, size_t index) {
  Record record;
  std::memcpy(&record, bytes.data() + index * sizeof(Record), sizeof(Record));
  return record;
}

}  // namespace pelton
