#include "csrc/exec/program.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "csrc/exec/memory_plan.h"

namespace pelton {
namespace {

using plan_format::Op;
using plan_format::TensorRole;

bool mixes_rows(Op op) { return op == Op::kRaggedAttention || op == Op::kPool; }

int64_t row_elements(const PlanTensor& tensor) {
  int64_t elements = 1;
  for (size_t i = 1; i < tensor.dims.size(); ++i) elements *= tensor.dims[i];
  return elements;
}

RowDomain domain_of(const PlanTensor& tensor) {
  const bool tokens = !tensor.dims.empty() && tensor.dims[0] == plan_format::kDimTokens;
  return tokens ? RowDomain::kTokens : RowDomain::kRows;
}

Status check_tensor(const PlanTensor& tensor) {
  const bool index = tensor.dtype == DType::kInt32 && tensor.role == TensorRole::kInput;
  if (tensor.dtype != DType::kFp32 && !index) {
    return Status(StatusCode::kUnsupported, "tensor '" + tensor.name +
                                                "': expected FP32, or INT32 for an input; got " +
                                                std::string(dtype_name(tensor.dtype)));
  }
  if (tensor.role == TensorRole::kWeight) return Status();
  if (tensor.dims.empty() || tensor.dims[0] >= 0) {
    return Status(StatusCode::kUnsupported,
                  "tensor '" + tensor.name + "': expected rows or tokens as its first dimension");
  }
  return Status();
}

std::vector<Segment> cut_segments(const Plan& plan) {
  std::vector<Segment> segments;
  const auto instructions = plan.instructions();
  for (size_t i = 0; i < instructions.size(); ++i) {
    const auto step = static_cast<int>(i);
    const auto output = static_cast<size_t>(instructions[i].outputs[0]);
    const RowDomain domain = domain_of(plan.tensors()[output]);
    const bool row_local = !mixes_rows(instructions[i].op);
    const bool joins = !segments.empty() && row_local && segments.back().row_local &&
                       segments.back().domain == domain;
    if (joins) {
      segments.back().step_end = step + 1;
    } else {
      segments.push_back({row_local, domain, step, step + 1});
    }
  }
  return segments;
}

struct Use {
  int first = -1;
  int last = -1;
};

std::vector<Use> find_uses(const Plan& plan) {
  std::vector<Use> uses(plan.tensors().size());
  const auto instructions = plan.instructions();
  const auto see = [&](int32_t tensor, int step) {
    if (tensor == plan_format::kNoTensor) return;
    Use& use = uses[static_cast<size_t>(tensor)];
    if (use.first < 0) use.first = step;
    use.last = step;
  };
  for (size_t i = 0; i < instructions.size(); ++i) {
    for (const int32_t tensor : instructions[i].inputs) see(tensor, static_cast<int>(i));
    for (const int32_t tensor : instructions[i].outputs) see(tensor, static_cast<int>(i));
  }
  // Inputs are gathered before the first step; outputs are read after the last.
  const auto end = static_cast<int>(instructions.size());
  for (const int32_t input : plan.inputs()) {
    Use& use = uses[static_cast<size_t>(input)];
    use = {-1, std::max(use.last, -1)};
  }
  for (const int32_t output : plan.outputs()) uses[static_cast<size_t>(output)].last = end;
  return uses;
}

Placement placement_of(const PlanTensor& tensor, const Use& use,
                       const std::vector<Segment>& segments) {
  if (tensor.role == TensorRole::kWeight) return Placement::kWeight;
  if (tensor.role != TensorRole::kIntermediate) return Placement::kBatch;
  for (const Segment& segment : segments) {
    if (use.first >= segment.step_begin && use.last < segment.step_end && segment.row_local) {
      return Placement::kBlock;
    }
  }
  return Placement::kBatch;
}

// The segment that a step belongs to; -1 before the first step, the number of segments after the
// last.
int segment_of(const std::vector<Segment>& segments, int step) {
  if (step < 0) return -1;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (step < segments[i].step_end) return static_cast<int>(i);
  }
  return static_cast<int>(segments.size());
}

// Packs the tensors of one group and returns its bytes per row. Block tensors live from step to
// step; batch tensors from segment to segment, because a segment runs all its steps on one block of
// rows before the next block's first step.
int64_t pack_group(Program& program, const std::vector<Use>& uses, Placement placement,
                   RowDomain domain) {
  std::vector<size_t> members;
  std::vector<Lifetime> lifetimes;
  for (size_t t = 0; t < program.tensors.size(); ++t) {
    const ProgramTensor& tensor = program.tensors[t];
    if (tensor.placement != placement) continue;
    if (placement == Placement::kBatch && tensor.domain != domain) continue;
    members.push_back(t);
    const bool block = placement == Placement::kBlock;
    lifetimes.push_back({block ? uses[t].first : segment_of(program.segments, uses[t].first),
                         block ? uses[t].last : segment_of(program.segments, uses[t].last),
                         tensor.row_bytes});
  }
  const MemoryPlan plan = plan_memory(lifetimes);
  for (size_t i = 0; i < members.size(); ++i) {
    program.tensors[members[i]].row_offset = plan.offsets[i];
  }
  return plan.row_bytes;
}

Step resolve_step(const Plan& plan, const PlanInstruction& instruction) {
  Step step;
  step.instruction = &instruction;
  const auto tensors = plan.tensors();
  step.columns = row_elements(tensors[static_cast<size_t>(instruction.outputs[0])]);
  if (instruction.op == Op::kGemm) {
    step.depth = tensors[static_cast<size_t>(instruction.inputs[1])].dims[0];
  }
  return step;
}

void add_costs(Program& program, const Plan& plan) {
  for (const Step& step : program.steps) {
    if (step.instruction->op == Op::kRaggedAttention) {
      program.attention_head_dim_max =
          std::max(program.attention_head_dim_max, step.columns / step.instruction->ints[0]);
    }
    const auto output = static_cast<size_t>(step.instruction->outputs[0]);
    const int64_t macs = step.columns * std::max<int64_t>(step.depth, 1);
    const bool tokens = domain_of(plan.tensors()[output]) == RowDomain::kTokens;
    (tokens ? program.macs_per_token : program.macs_per_row) += macs;
    if (step.instruction->op == Op::kEmbedding &&
        step.instruction->inputs[2] != plan_format::kNoTensor) {
      const auto table = static_cast<size_t>(step.instruction->inputs[2]);
      program.position_limit = std::min(program.position_limit,
                                        plan.tensors()[table].dims[0] - step.instruction->ints[0]);
    }
  }
}

// Rows whose block tensors fill three quarters of L2, a multiple of 72: whole strips of every
// variant's tile.
int64_t choose_block_rows(int64_t row_bytes) {
  const int64_t l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
  const int64_t budget = (l2 > 0 ? l2 : 512 * 1024) / 4 * 3;
  const int64_t rows = budget / std::max<int64_t>(row_bytes, 1) / 72 * 72;
  return std::clamp<int64_t>(rows, 72, 576);
}

}  // namespace

Result<Program> build_program(const Plan& plan) {
  Program program;
  const auto tensors = plan.tensors();
  for (const PlanTensor& tensor : tensors) PELTON_RETURN_IF_ERROR(check_tensor(tensor));
  for (const PlanInstruction& instruction : plan.instructions()) {
    program.steps.push_back(resolve_step(plan, instruction));
  }
  program.segments = cut_segments(plan);
  const std::vector<Use> uses = find_uses(plan);
  program.tensors.resize(tensors.size());
  for (size_t t = 0; t < tensors.size(); ++t) {
    ProgramTensor& tensor = program.tensors[t];
    tensor.placement = placement_of(tensors[t], uses[t], program.segments);
    tensor.domain = domain_of(tensors[t]);
    tensor.row_bytes =
        row_elements(tensors[t]) * static_cast<int64_t>(dtype_bytes(tensors[t].dtype));
    tensor.weight = tensors[t].weight;
  }
  program.batch_row_bytes[static_cast<int>(RowDomain::kTokens)] =
      pack_group(program, uses, Placement::kBatch, RowDomain::kTokens);
  program.batch_row_bytes[static_cast<int>(RowDomain::kRows)] =
      pack_group(program, uses, Placement::kBatch, RowDomain::kRows);
  program.block_row_bytes = pack_group(program, uses, Placement::kBlock, RowDomain::kRows);
  program.block_rows = choose_block_rows(program.block_row_bytes);
  add_costs(program, plan);
  return program;
}

std::vector<IndexLimit> index_limits(const Plan& plan) {
  std::vector<IndexLimit> limits;
  const auto inputs = plan.inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    int64_t rows = INT64_MAX;
    for (const PlanInstruction& instruction : plan.instructions()) {
      if (instruction.op != Op::kEmbedding) continue;
      const auto see = [&](size_t ids, size_t table) {
        if (instruction.inputs[ids] != inputs[i]) return;
        if (instruction.inputs[table] == plan_format::kNoTensor) return;
        const auto index = static_cast<size_t>(instruction.inputs[table]);
        rows = std::min(rows, plan.tensors()[index].dims[0]);
      };
      see(0, 1);
      see(4, 3);
    }
    if (rows != INT64_MAX) limits.push_back({static_cast<int>(i), rows});
  }
  return limits;
}

}  // namespace pelton
