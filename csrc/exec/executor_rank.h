// What one rank of the team knows while a batch runs. Private to csrc/exec.
#pragma once

#include <cstddef>
#include <cstdint>

#include "csrc/exec/executor.h"

namespace pelton {

// Rows [first_row, first_row + row_count) of a group of tensors that were packed together: a
// tensor's rows start at base + its row_offset * row_count.
struct Region {
  std::byte* base = nullptr;
  int64_t first_row = 0;
  int64_t row_count = 0;
};

// By sequence, every rank has regions of its own, so that it needs no barrier before it reuses
// memory; together, all ranks share one.
struct Executor::Rank {
  int index = 0;
  Range rows;                // of the batch: this rank's chunk, or all
  Range tokens;              // of those rows
  Region batch[2];           // tensors of Placement::kBatch, by RowDomain
  Region block;              // tensors of Placement::kBlock
  float* scratch = nullptr;  // of attention
};

}  // namespace pelton
