#include "csrc/serve/stats.h"

#include <algorithm>

#include "csrc/base/check.h"

namespace pelton {

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kError:
      return "error";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kExpired:
      return "expired";
    case Outcome::kRejected:
      return "rejected";
  }
  return {};
}

void BatchSizeTable::record(int64_t row_count, uint64_t execute_ns) {
  PELTON_CHECK(row_count >= 1);
  // Sizes of one model are mostly small and dense: they land in cells of their own.
  const auto home = static_cast<size_t>(row_count) % kSizesMax;
  for (size_t i = 0; i < kSizesMax; ++i) {
    Cell& cell = cells_[(home + i) % kSizesMax];
    const int64_t taken_by = cell.row_count.load(std::memory_order_relaxed);
    if (taken_by == 0) cell.row_count.store(row_count, std::memory_order_relaxed);
    if (taken_by == 0 || taken_by == row_count) return count(cell, execute_ns);
  }
  count(others_, execute_ns);
}

void BatchSizeTable::count(Cell& cell, uint64_t execute_ns) {
  const auto increase = [](std::atomic<uint64_t>& value, uint64_t amount) {
    value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  };
  increase(cell.batches, 1);
  increase(cell.execute_ns, execute_ns);
}

std::vector<BatchSizeStats> BatchSizeTable::snapshot() const {
  std::vector<BatchSizeStats> sizes;
  const auto add = [&sizes](const Cell& cell) {
    const BatchSizeStats stats{cell.row_count.load(std::memory_order_relaxed),
                               cell.batches.load(std::memory_order_relaxed),
                               cell.execute_ns.load(std::memory_order_relaxed)};
    if (stats.batches > 0) sizes.push_back(stats);
  };
  for (const Cell& cell : cells_) add(cell);
  add(others_);
  std::sort(sizes.begin(), sizes.end(), [](const BatchSizeStats& a, const BatchSizeStats& b) {
    return a.row_count < b.row_count;
  });
  return sizes;
}

}  // namespace pelton
