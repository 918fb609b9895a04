// Program: a plan's instructions resolved for execution, once, at load: which kernel attributes
// each step has, where each tensor lives, and which steps may run block of rows by block of rows.
// Immutable; no pointers into batch memory.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/base/status.h"
#include "csrc/plan/plan.h"

namespace pelton {

// What a tensor's first dimension counts.
enum class RowDomain : uint8_t { kTokens, kRows };

// Where an activation lives. Weights are read from the plan's mapping.
enum class Placement : uint8_t {
  kWeight,
  kBatch,  // in the arena, all rows of the batch
  kBlock,  // written and read within one segment: a block of rows per rank, which stays in its L2
};

struct ProgramTensor {
  Placement placement = Placement::kWeight;
  RowDomain domain = RowDomain::kRows;
  int64_t row_bytes = 0;   // one row, without padding
  int64_t row_offset = 0;  // bytes per row of the group before this tensor (memory_plan.h)
  const std::byte* weight = nullptr;
};

struct Step {
  const PlanInstruction* instruction = nullptr;
  int64_t columns = 0;  // floats of one output row
  int64_t depth = 0;    // GEMM: K
};

// Consecutive steps that run together: row-local ones over the rows of one domain, or a single step
// that mixes the rows of a sequence (attention, pooling).
struct Segment {
  bool row_local = true;
  RowDomain domain = RowDomain::kRows;
  int step_begin = 0;
  int step_end = 0;
};

struct Program {
  std::vector<ProgramTensor> tensors;  // by plan tensor index
  std::vector<Step> steps;
  std::vector<Segment> segments;
  int64_t batch_row_bytes[2] = {0, 0};  // arena bytes per token and per row
  int64_t block_row_bytes = 0;          // per row of a rank's block
  int64_t block_rows = 0;               // rows of a block: its tensors fit in L2
  int64_t attention_head_dim_max = 0;
  int64_t macs_per_token = 0;
  int64_t macs_per_row = 0;
  int64_t position_limit = INT64_MAX;  // tokens a sequence may have
};

// What check_request() compares an integer input with.
struct IndexLimit {
  int input = 0;  // position among the plan's inputs
  int64_t table_rows = 0;
};

// kUnsupported: a dtype or operand form that these kernels do not run.
Result<Program> build_program(const Plan& plan);
// One entry per integer input that indexes a table: the smallest table it indexes.
std::vector<IndexLimit> index_limits(const Plan& plan);

}  // namespace pelton
