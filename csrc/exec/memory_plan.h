// Offline packing of tensors whose lifetimes are known (interval packing, largest first: "Efficient
// Memory Management for Deep Neural Net Inference", Pisarchyk and Lee 2020, greedy by size). Done
// once per plan in bytes per row: every tensor of one group has the same number of rows, so the
// offsets hold for every batch when multiplied by it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pelton {

struct Lifetime {
  int first_step;  // the step that writes it
  int last_step;   // the last step that reads it (>= first_step)
  int64_t row_bytes;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // per lifetime, bytes per row, multiples of 64
  int64_t row_bytes = 0;         // of the whole group
};

// Two lifetimes that share a step never overlap.
MemoryPlan plan_memory(std::span<const Lifetime> lifetimes);

}  // namespace pelton
