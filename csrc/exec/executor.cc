#include "csrc/exec/executor.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "csrc/exec/executor_rank.h"

namespace pelton {
namespace {

// Below this many multiply-adds (some 5 us of one core) waking another thread costs more than it
// gains.
constexpr int64_t kMacsForTeam = 400'000;
// Fewer rows per rank than this are bound by reading weights: cut the weights' columns instead.
constexpr int64_t kRowsPerRankMin = 24;
// By-sequence work may leave the other ranks idle for this share of the time before cutting every
// step pays.
constexpr double kImbalanceMax = 1.2;
// GEMMs are cut at multiples of this many columns.
constexpr int64_t kColumnUnit = 48;
// A GEMM that must yield is cut into parts of about so many multiply-adds (some 300 us of one
// core).
constexpr int64_t kMacsPerPartMax = 20'000'000;

constexpr int kTokenDomain = static_cast<int>(RowDomain::kTokens);
constexpr int kRowDomain = static_cast<int>(RowDomain::kRows);
constexpr int64_t kFloatBytes = sizeof(float);

constexpr int64_t align_up(int64_t bytes) {
  const auto unit = static_cast<int64_t>(kMemoryAlignment);
  return (bytes + unit - 1) / unit * unit;
}

Status bad_request(const std::string& what, int64_t expected_max, int64_t got) {
  return invalid_argument(what + ": expected at most " + std::to_string(expected_max) + ", got " +
                          std::to_string(got));
}

}  // namespace

Result<std::unique_ptr<Executor>> Executor::create(std::shared_ptr<const Plan> plan,
                                                   const ExecutorOptions& options) {
  PELTON_CHECK(plan && options.team && options.allocator);
  PELTON_CHECK(options.threads_max >= 1);
  Result<Program> program = build_program(*plan);
  if (!program.ok()) return program.status();
  return std::unique_ptr<Executor>(
      new Executor(std::move(plan), std::move(program).value(), options));
}

Executor::Executor(std::shared_ptr<const Plan> plan, Program program,
                   const ExecutorOptions& options)
    : plan_(std::move(plan)),
      program_(std::move(program)),
      index_limits_(index_limits(*plan_)),
      options_(options),
      arena_(*options.allocator) {}

Status Executor::check(const RequestView& request) const {
  const size_t inputs = plan_->inputs().size();
  const size_t outputs = plan_->outputs().size();
  if (request.inputs.size() != inputs || request.outputs.size() != outputs) {
    return invalid_argument("expected " + std::to_string(inputs) + " inputs and " +
                            std::to_string(outputs) + " outputs, got " +
                            std::to_string(request.inputs.size()) + " and " +
                            std::to_string(request.outputs.size()));
  }
  const auto lengths_expected =
      plan_->ragged() ? static_cast<size_t>(request.row_count) : size_t{0};
  if (request.row_count < 1 || request.lengths.size() != lengths_expected) {
    return invalid_argument("expected at least 1 row and " + std::to_string(lengths_expected) +
                            " lengths, got " + std::to_string(request.row_count) + " and " +
                            std::to_string(request.lengths.size()));
  }
  int64_t tokens = plan_->ragged() ? 0 : request.row_count;
  for (size_t i = 0; i < request.lengths.size(); ++i) {
    const int64_t length = request.lengths[i];
    if (length < 1 || length > program_.position_limit) {
      return invalid_argument("row " + std::to_string(i) + ": expected 1 to " +
                              std::to_string(program_.position_limit) + " tokens, got " +
                              std::to_string(length));
    }
    tokens += length;
  }
  if (tokens != request.token_count) {
    return invalid_argument("expected " + std::to_string(tokens) + " tokens in all, got " +
                            std::to_string(request.token_count));
  }
  for (const IndexLimit& limit : index_limits_) {
    const std::byte* ids = request.inputs[static_cast<size_t>(limit.input)];
    for (int64_t t = 0; t < tokens; ++t) {
      int32_t id = 0;
      std::memcpy(&id, ids + t * static_cast<int64_t>(sizeof(id)), sizeof(id));
      if (id >= 0 && id < limit.table_rows) continue;
      const auto tensor = static_cast<size_t>(plan_->inputs()[static_cast<size_t>(limit.input)]);
      return invalid_argument("input '" + plan_->tensors()[tensor].name + "', token " +
                              std::to_string(t) + ": expected 0 to " +
                              std::to_string(limit.table_rows - 1) + ", got " + std::to_string(id));
    }
  }
  return Status();
}

int Executor::ranks_wanted(int64_t row_count, int64_t token_count) const {
  const int64_t macs = program_.macs_per_token * token_count + program_.macs_per_row * row_count;
  return macs < kMacsForTeam ? 1 : std::min(options_.threads_max, options_.team->size());
}

Status Executor::run(const BatchView& batch, const RunSite& site) {
  site_ = site;
  PELTON_RETURN_IF_ERROR(bind(batch));
  site_.lane->run(ranks_, &Executor::run_rank, this);
  return Status();
}

Status Executor::bind(const BatchView& batch) {
  row_count_ = batch.row_count;
  token_count_ = batch.token_count;
  if (token_count_ > INT32_MAX) return bad_request("tokens of a batch", INT32_MAX, token_count_);
  order_rows(batch);
  choose_split();
  return lay_out();
}

// Fills arrived_ and lengths_.
void Executor::order_rows(const BatchView& batch) {
  arrived_.clear();
  lengths_.clear();
  length_max_ = 1;
  for (const RequestView* request : batch.requests) {
    int64_t token = 0;
    for (int64_t row = 0; row < request->row_count; ++row) {
      const int32_t length = plan_->ragged() ? request->lengths[static_cast<size_t>(row)] : 1;
      arrived_.push_back({request, row, token});
      lengths_.push_back(length);
      length_max_ = std::max<int64_t>(length_max_, length);
      token += length;
    }
  }
}

// Fills ranks_, together_, rows_, token_begins_ and rank_ends_.
void Executor::choose_split() {
  ranks_ = std::min(ranks_wanted(row_count_, token_count_), site_.rank_count);
  const double imbalance = plan_->ragged() && ranks_ > 1
                               ? assign_sequences(lengths_, ranks_, order_, rank_ends_, loads_)
                               : assign_evenly(row_count_, ranks_, order_, rank_ends_);
  together_ = ranks_ > 1 && (imbalance > kImbalanceMax || token_count_ < kRowsPerRankMin * ranks_);
  rows_.clear();
  token_begins_.clear();
  token_begins_.push_back(0);
  for (const int32_t index : order_) {
    rows_.push_back(arrived_[static_cast<size_t>(index)]);
    token_begins_.push_back(token_begins_.back() + lengths_[static_cast<size_t>(index)]);
  }
}

// The arena: per region (one for all ranks together, else one per rank, for its largest chunk)
// batch tensors of tokens, of rows, and the block; then each rank's scratch. Every part starts at a
// multiple of 64 bytes; 64 that may be read follow the tokens (f32_attention reads past the last
// row).
Status Executor::lay_out() {
  chunk_rows_max_ = together_ ? row_count_ : 0;
  chunk_tokens_max_ = together_ ? token_count_ : 0;
  for (int rank = 0; rank < ranks_ && !together_; ++rank) {
    const Range rows = rows_of_rank(rank);
    for (Range chunk = chunk_at(rows.begin, rows.end); chunk.begin < chunk.end;
         chunk = chunk_at(chunk.end, rows.end)) {
      const Range tokens = tokens_of(chunk);
      chunk_rows_max_ = std::max(chunk_rows_max_, chunk.end - chunk.begin);
      chunk_tokens_max_ = std::max(chunk_tokens_max_, tokens.end - tokens.begin);
    }
  }
  const int64_t rows_max = std::max(chunk_rows_max_, chunk_tokens_max_);
  block_rows_ = together_ ? rows_max : std::min(program_.block_rows, rows_max);
  scratch_floats_ = 0;
  if (program_.attention_head_dim_max > 0) {
    const int64_t floats =
        kernels::attention_scratch_floats(length_max_, program_.attention_head_dim_max);
    scratch_floats_ = align_up(floats * kFloatBytes) / kFloatBytes;
  }
  region_bytes_ = program_.batch_row_bytes[kTokenDomain] * chunk_tokens_max_ + 64 +
                  program_.batch_row_bytes[kRowDomain] * chunk_rows_max_ +
                  program_.block_row_bytes * block_rows_;
  const int64_t regions_bytes = (together_ ? 1 : ranks_) * region_bytes_;
  const int64_t total = regions_bytes + ranks_ * scratch_floats_ * kFloatBytes;
  PELTON_RETURN_IF_ERROR(arena_.reserve(static_cast<size_t>(total)));
  scratch_base_ = reinterpret_cast<float*>(arena_.data() + regions_bytes);
  return Status();
}

Range Executor::rows_of_rank(int rank) const {
  const auto i = static_cast<size_t>(rank);
  return {rank == 0 ? 0 : rank_ends_[i - 1], rank_ends_[i]};
}

Range Executor::tokens_of(Range rows) const {
  return {token_begins_[static_cast<size_t>(rows.begin)],
          token_begins_[static_cast<size_t>(rows.end)]};
}

// The rows from `begin` on that go through the network at once: as many as a block has room for, at
// least one.
Range Executor::chunk_at(int64_t begin, int64_t end) const {
  const int64_t token_begin = token_begins_[static_cast<size_t>(begin)];
  int64_t chunk_end = std::min(begin + 1, end);
  while (chunk_end < end &&
         token_begins_[static_cast<size_t>(chunk_end) + 1] - token_begin <= program_.block_rows) {
    ++chunk_end;
  }
  return {begin, chunk_end};
}

int64_t Executor::row_count_of(RowDomain domain) const {
  return domain == RowDomain::kTokens ? token_count_ : row_count_;
}

// The rank's view of its memory for these rows.
Executor::Rank Executor::make_rank(int index, Range rows) const {
  Rank rank;
  rank.index = index;
  rank.rows = rows;
  rank.tokens = tokens_of(rows);
  std::byte* base = arena_.data() + (together_ ? 0 : index * region_bytes_);
  for (const int domain : {kTokenDomain, kRowDomain}) {
    const Range range = domain == kTokenDomain ? rank.tokens : rank.rows;
    const int64_t count = range.end - range.begin;
    rank.batch[domain] = {base, range.begin, count};
    base += program_.batch_row_bytes[domain] * count + (domain == kTokenDomain ? 64 : 0);
  }
  rank.block = {base, 0, block_rows_};
  rank.scratch = scratch_base_ + index * scratch_floats_;
  return rank;
}

void Executor::run_rank(void* context, int index) {
  auto* self = static_cast<Executor*>(context);
  if (self->together_) {
    Rank rank = self->make_rank(index, {0, self->row_count_});
    return self->run_together(rank);
  }
  const Range rows = self->rows_of_rank(index);
  for (Range chunk = self->chunk_at(rows.begin, rows.end); chunk.begin < chunk.end;
       chunk = self->chunk_at(chunk.end, rows.end)) {
    Rank rank = self->make_rank(index, chunk);
    self->run_chunk(rank);
  }
}

// Only the lane's leader calls the hook: what it does belongs to that thread.
void Executor::yield(const Rank& rank) const {
  if (rank.index == 0) site_.yield();
}

// Takes the rank's rows through the whole network; what the steps hand on stays in L2.
void Executor::run_chunk(Rank& rank) {
  copy_rows(rank, rank.rows, true);
  for (const Segment& segment : program_.segments) {
    if (!segment.row_local) {
      run_mixing(program_.steps[static_cast<size_t>(segment.step_begin)], rank, rank.rows);
      continue;
    }
    const Range range = segment.domain == RowDomain::kTokens ? rank.tokens : rank.rows;
    for (int64_t begin = range.begin; begin < range.end; begin += block_rows_) {
      const Range block{begin, std::min(range.end, begin + block_rows_)};
      rank.block.first_row = block.begin;
      for (int s = segment.step_begin; s < segment.step_end; ++s) {
        run_block(program_.steps[static_cast<size_t>(s)], rank, block);
        yield(rank);
      }
    }
  }
  copy_rows(rank, rank.rows, false);
}

void Executor::run_block(const Step& step, Rank& rank, Range block) {
  const Range all{0, step.columns};
  const int64_t macs_per_column = (block.end - block.begin) * step.depth;
  if (!site_.finely || macs_per_column * step.columns <= kMacsPerPartMax) {
    return run_row_local(step, rank, block, all);
  }
  const int64_t part = std::max(kMacsPerPartMax / macs_per_column, int64_t{1});
  const int64_t width = (part + kColumnUnit - 1) / kColumnUnit * kColumnUnit;
  for (int64_t begin = 0; begin < all.end; begin += width) {
    if (begin > 0) yield(rank);
    run_row_local(step, rank, block, {begin, std::min(all.end, begin + width)});
  }
}

void Executor::run_together(Rank& rank) {
  Lane& lane = *site_.lane;
  const Range mine = even_part(row_count_, 1, rank.index, ranks_);
  copy_rows(rank, mine, true);
  lane.barrier(rank.index);
  for (const Segment& segment : program_.segments) {
    for (int s = segment.step_begin; s < segment.step_end; ++s) {
      run_part_of_step(program_.steps[static_cast<size_t>(s)], segment, rank);
      lane.barrier(rank.index);
      yield(rank);
    }
  }
  copy_rows(rank, mine, false);
}

// This rank's part of a step that all ranks share.
void Executor::run_part_of_step(const Step& step, const Segment& segment, Rank& rank) {
  if (!segment.row_local) {
    const bool heads = step.instruction->op == plan_format::Op::kRaggedAttention;
    const int64_t items = row_count_ * (heads ? step.instruction->ints[0] : 1);
    return run_mixing(step, rank, even_part(items, 1, rank.index, ranks_));
  }
  const int64_t rows = row_count_of(segment.domain);
  if (step.instruction->op != plan_format::Op::kGemm) {
    return run_row_local(step, rank, even_part(rows, 1, rank.index, ranks_), {0, step.columns});
  }
  const GemmSplit split = split_gemm(rows, step.columns, ranks_);
  const int column_part = rank.index % split.column_parts;
  const int row_part = rank.index / split.column_parts;
  run_row_local(step, rank, even_part(rows, 8, row_part, split.row_parts),
                even_part(step.columns, kColumnUnit, column_part, split.column_parts));
}

// Copies inputs from the requests into the batch, or outputs from the batch to the requests.
void Executor::copy_rows(const Rank& rank, Range rows, bool into_batch) const {
  const auto tensors = into_batch ? plan_->inputs() : plan_->outputs();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const ProgramTensor& tensor = program_.tensors[static_cast<size_t>(tensors[i])];
    const bool tokens = tensor.domain == RowDomain::kTokens;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      const BatchRow& row = rows_[static_cast<size_t>(r)];
      const int64_t begin = tokens ? token_begins_[static_cast<size_t>(r)] : r;
      const int64_t count = tokens ? token_begins_[static_cast<size_t>(r) + 1] - begin : 1;
      const int64_t offset = (tokens ? row.token : row.row) * tensor.row_bytes;
      const auto bytes = static_cast<size_t>(count * tensor.row_bytes);
      std::byte* in_batch = row_at(tensors[i], begin, rank);
      if (into_batch) {
        std::memcpy(in_batch, row.request->inputs[i] + offset, bytes);
      } else if (row.request->outputs[i]) {
        std::memcpy(row.request->outputs[i] + offset, in_batch, bytes);
      }
    }
  }
}

}  // namespace pelton
