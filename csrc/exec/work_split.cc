#include "csrc/exec/work_split.h"

#include <algorithm>
#include <numeric>

namespace pelton {
namespace {

constexpr int64_t kColumnUnit = 48;  // three panels, the widest tile's columns
constexpr int64_t kRowUnit = 8;      // the tallest tile's rows

int64_t units(int64_t count, int64_t unit) { return (count + unit - 1) / unit; }

}  // namespace

Range even_part(int64_t count, int64_t unit, int rank, int ranks) {
  const int64_t total = units(count, unit);
  const int64_t begin = total * rank / ranks * unit;
  const int64_t end = total * (rank + 1) / ranks * unit;
  return {std::min(begin, count), std::min(end, count)};
}

GemmSplit split_gemm(int64_t rows, int64_t columns, int ranks) {
  GemmSplit best;
  int64_t best_work = INT64_MAX;
  for (int row_parts = 1; row_parts <= ranks; ++row_parts) {
    if (ranks % row_parts != 0) continue;
    const int column_parts = ranks / row_parts;
    const int64_t row_units = units(units(rows, kRowUnit), row_parts);
    const int64_t column_units = units(units(columns, kColumnUnit), column_parts);
    const int64_t work = std::min(row_units * kRowUnit, rows) * column_units;
    if (work < best_work) {
      best_work = work;
      best = {row_parts, column_parts};
    }
  }
  return best;
}

double assign_sequences(std::span<const int32_t> lengths, int ranks, std::vector<int32_t>& order,
                        std::vector<int64_t>& rank_ends, std::vector<int64_t>& loads) {
  const auto count = static_cast<int64_t>(lengths.size());
  const auto rank_count = static_cast<size_t>(ranks);
  order.resize(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int32_t s) { return lengths[static_cast<size_t>(s)]; };
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return length(a) != length(b) ? length(a) > length(b) : a < b;
  });
  loads.assign(rank_count + static_cast<size_t>(count),
               0);  // loads, then the rank of each sequence
  rank_ends.assign(rank_count, 0);
  for (const int32_t s : order) {
    const auto least = std::min_element(loads.begin(), loads.begin() + ranks);
    *least += length(s);
    const int64_t rank = least - loads.begin();
    loads[rank_count + static_cast<size_t>(s)] = rank;
    ++rank_ends[static_cast<size_t>(rank)];
  }
  std::partial_sum(rank_ends.begin(), rank_ends.end(), rank_ends.begin());
  // By rank, then in the order of arrival.
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const int64_t rank_a = loads[rank_count + static_cast<size_t>(a)];
    const int64_t rank_b = loads[rank_count + static_cast<size_t>(b)];
    return rank_a != rank_b ? rank_a < rank_b : a < b;
  });
  const int64_t total = std::accumulate(loads.begin(), loads.begin() + ranks, int64_t{0});
  const int64_t largest = *std::max_element(loads.begin(), loads.begin() + ranks);
  return total == 0 ? 1.0 : static_cast<double>(largest) * ranks / static_cast<double>(total);
}

double assign_evenly(int64_t row_count, int ranks, std::vector<int32_t>& order,
                     std::vector<int64_t>& rank_ends) {
  order.resize(static_cast<size_t>(row_count));
  std::iota(order.begin(), order.end(), 0);
  rank_ends.resize(static_cast<size_t>(ranks));
  int64_t largest = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const Range part = even_part(row_count, 1, rank, ranks);
    rank_ends[static_cast<size_t>(rank)] = part.end;
    largest = std::max(largest, part.end - part.begin);
  }
  return row_count == 0 ? 1.0
                        : static_cast<double>(largest) * ranks / static_cast<double>(row_count);
}

}  // namespace pelton
