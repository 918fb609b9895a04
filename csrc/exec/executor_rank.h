// What one rank of the team knows while a batch runs. Private to csrc/exec.
#pragma once

#include <cstddef>
#include <cstdint>

#include "csrc/exec/executor.h"

namespace pelton {

struct Executor::Rank {
  int index = 0;
  std::byte* block = nullptr;  // tensors of Placement::kBlock
  int64_t block_begin = 0;     // the row that the block starts with
  int64_t block_rows = 0;      // that the block's layout has room for
  float* scratch = nullptr;    // of attention
};

}  // namespace pelton
