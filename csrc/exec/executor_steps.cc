// The steps: each finds its operands' rows and calls one kernel.
#include <algorithm>

#include "csrc/exec/executor.h"
#include "csrc/exec/executor_rank.h"

namespace pelton {

using plan_format::kNoTensor;
using plan_format::Op;

std::byte* Executor::row_at(int32_t tensor, int64_t row, const Rank& rank) const {
  const ProgramTensor& t = program_.tensors[static_cast<size_t>(tensor)];
  PELTON_CHECK(t.placement != Placement::kWeight);
  const Region& region =
      t.placement == Placement::kBlock ? rank.block : rank.batch[static_cast<int>(t.domain)];
  return region.base + t.row_offset * region.row_count + (row - region.first_row) * t.row_bytes;
}

// The tensor from `row` on, or the whole of a weight; nullptr for an absent operand.
template <typename T>
T* Executor::rows_at(int32_t tensor, int64_t row, const Rank& rank) const {
  if (tensor == kNoTensor) return nullptr;
  const ProgramTensor& t = program_.tensors[static_cast<size_t>(tensor)];
  if constexpr (std::is_const_v<T>) {
    if (t.placement == Placement::kWeight) return reinterpret_cast<T*>(t.weight);
  }
  return reinterpret_cast<T*>(row_at(tensor, row, rank));
}

void Executor::run_row_local(const Step& step, Rank& rank, Range rows, Range columns) {
  if (rows.begin == rows.end || columns.begin == columns.end) return;
  const PlanInstruction& in = *step.instruction;
  const int64_t count = rows.end - rows.begin;
  const auto* x =
      in.op == Op::kEmbedding ? nullptr : rows_at<const float>(in.inputs[0], rows.begin, rank);
  auto* y = rows_at<float>(in.outputs[0], rows.begin, rank);
  switch (in.op) {
    case Op::kEmbedding:
      return run_embedding(step, rank, rows);
    case Op::kGemm:
      return run_gemm(step, rank, rows, columns);
    case Op::kBinary:
      return run_binary(step, rank, rows);
    case Op::kLayerNorm:
      return options_.kernels.f32_layer_norm(
          {x, y, count, step.columns, rows_at<const float>(in.inputs[1], 0, rank),
           rows_at<const float>(in.inputs[2], 0, rank), static_cast<float>(in.floats[0])});
    case Op::kL2Normalize:
      return options_.kernels.f32_l2_normalize(
          {x, y, count, step.columns, static_cast<float>(in.floats[0])});
    case Op::kActivation:
      return options_.kernels.f32_activation(
          {x, y, count * step.columns, static_cast<kernels::Activation>(in.ints[0])});
    case Op::kRaggedAttention:
    case Op::kPool:
      break;
  }
  PELTON_CHECK(false);
}

void Executor::run_gemm(const Step& step, Rank& rank, Range rows, Range columns) {
  const PlanInstruction& in = *step.instruction;
  kernels::F32GemmParams p;
  p.a = rows_at<const float>(in.inputs[0], rows.begin, rank);
  p.a_stride = step.depth;
  p.b_panels = rows_at<const float>(in.inputs[1], 0, rank);
  p.bias = rows_at<const float>(in.inputs[2], 0, rank);
  p.residual = rows_at<const float>(in.inputs[3], rows.begin, rank);
  p.residual_stride = step.columns;
  p.c = rows_at<float>(in.outputs[0], rows.begin, rank);
  p.c_stride = step.columns;
  p.row_count = rows.end - rows.begin;
  p.depth = step.depth;
  p.column_begin = columns.begin;
  p.column_end = columns.end;
  p.activation = static_cast<kernels::Activation>(in.ints[0]);
  options_.kernels.f32_gemm(p);
}

void Executor::run_embedding(const Step& step, Rank& rank, Range tokens) {
  const PlanInstruction& in = *step.instruction;
  // The sequence that the first token belongs to.
  auto sequence = static_cast<size_t>(
      std::upper_bound(token_begins_.begin(), token_begins_.end(), tokens.begin) -
      token_begins_.begin() - 1);
  for (int64_t begin = tokens.begin; begin < tokens.end; ++sequence) {
    const int64_t end = std::min(tokens.end, token_begins_[sequence + 1]);
    kernels::F32EmbeddingParams p;
    p.ids = rows_at<const int32_t>(in.inputs[0], begin, rank);
    p.word = rows_at<const float>(in.inputs[1], 0, rank);
    p.position = rows_at<const float>(in.inputs[2], 0, rank);
    p.type = rows_at<const float>(in.inputs[3], 0, rank);
    p.type_ids = rows_at<const int32_t>(in.inputs[4], begin, rank);
    p.token_count = end - begin;
    p.first_position = in.ints[0] + begin - token_begins_[sequence];
    p.columns = step.columns;
    p.out = rows_at<float>(in.outputs[0], begin, rank);
    options_.kernels.f32_embedding(p);
    begin = end;
  }
}

void Executor::run_binary(const Step& step, Rank& rank, Range rows) {
  const PlanInstruction& in = *step.instruction;
  const PlanTensor& b = plan_->tensors()[static_cast<size_t>(in.inputs[1])];
  kernels::F32BinaryParams p;
  p.a = rows_at<const float>(in.inputs[0], rows.begin, rank);
  p.b = rows_at<const float>(in.inputs[1], rows.begin, rank);
  p.y = rows_at<float>(in.outputs[0], rows.begin, rank);
  p.row_count = rows.end - rows.begin;
  p.columns = step.columns;
  p.binary = static_cast<kernels::Binary>(in.ints[0]);
  if (b.role == plan_format::TensorRole::kWeight) {
    const bool scalar = b.weight_bytes == sizeof(float) && step.columns != 1;
    p.operand = scalar ? kernels::BinaryOperand::kScalar : kernels::BinaryOperand::kRow;
  }
  options_.kernels.f32_binary(p);
}

void Executor::run_mixing(const Step& step, Rank& rank, Range items) {
  if (step.instruction->op == Op::kPool) return run_pool(step, rank, items);
  if (together_) return run_attention(step, rank, items);
  const int64_t heads = step.instruction->ints[0];
  run_attention(step, rank, {items.begin * heads, items.end * heads});
}

// Item i is head i % heads of sequence i / heads.
void Executor::run_attention(const Step& step, Rank& rank, Range items) {
  const PlanInstruction& in = *step.instruction;
  const int64_t heads = in.ints[0];
  const int64_t hidden = step.columns;
  for (int64_t item = items.begin; item < items.end; ++item) {
    if (!together_ && item > items.begin) yield(rank);
    const auto sequence = static_cast<size_t>(item / heads);
    const int64_t begin = token_begins_[sequence];
    kernels::F32AttentionParams p;
    p.head_dim = hidden / heads;
    p.q = rows_at<const float>(in.inputs[0], begin, rank) + item % heads * p.head_dim;
    p.k = p.q + hidden;
    p.v = p.k + hidden;
    p.stride = 3 * hidden;
    p.out = rows_at<float>(in.outputs[0], begin, rank) + item % heads * p.head_dim;
    p.out_stride = hidden;
    p.token_count = token_begins_[sequence + 1] - begin;
    p.query_end = p.token_count;
    p.scale = static_cast<float>(in.floats[0]);
    p.scratch = rank.scratch;
    options_.kernels.f32_attention(p);
  }
}

void Executor::run_pool(const Step& step, Rank& rank, Range sequences) {
  const PlanInstruction& in = *step.instruction;
  for (int64_t s = sequences.begin; s < sequences.end; ++s) {
    const int64_t begin = token_begins_[static_cast<size_t>(s)];
    kernels::F32PoolParams p;
    p.x = rows_at<const float>(in.inputs[0], begin, rank);
    p.token_count = token_begins_[static_cast<size_t>(s) + 1] - begin;
    p.columns = step.columns;
    p.pooling = static_cast<kernels::Pooling>(in.ints[0]);
    p.out = rows_at<float>(in.outputs[0], s, rank);
    options_.kernels.f32_pool(p);
  }
}

}  // namespace pelton
