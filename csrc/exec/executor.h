// Executor: runs a plan on batches: shapes bound, memory laid out in its arena, kernels called by
// the team.
//
// Two ways to share a batch among the ranks of the team, chosen by its shape:
// - By sequence: every rank takes whole sequences (dense models: rows) through the whole network, a
//   chunk of them at a time, and meets no other rank. Row-local steps go block of rows by block of
//   rows. What steps hand on stays in L2.
// - Together: few or long sequences; every step is cut among the ranks, a barrier after each.
//
// A row's result is bitwise the same in both, alone or in any batch, with any number of threads: no
// sum is ever split (kernels/include/f32_gemm.h).
#pragma once

#include <memory>
#include <vector>

#include "csrc/base/batch_view.h"
#include "csrc/base/status.h"
#include "csrc/concurrency/run_site.h"
#include "csrc/exec/program.h"
#include "csrc/exec/work_split.h"
#include "csrc/memory/arena.h"
#include "csrc/plan/plan.h"
#include "kernels/include/registry.h"

namespace pelton {

struct ExecutorOptions {
  Team* team = nullptr;            // outlives the executor
  int threads_max = 1;             // ranks a batch may use, at most team->size()
  Allocator* allocator = nullptr;  // outlives the executor
  kernels::KernelSet kernels;
};

// run() is not thread-safe; check() and the accessors are.
class Executor {
 public:
  // kUnsupported: the plan asks for what these kernels do not do.
  static Result<std::unique_ptr<Executor>> create(std::shared_ptr<const Plan> plan,
                                                  const ExecutorOptions& options);

  // Whether run() may take this request: counts and pointers present, lengths between 1 and the
  // position limit, every index within its table. kInvalidArgument names the input, what was
  // expected and what came.
  Status check(const RequestView& request) const;

  // How many ranks run() would use of those it may: 1 for batches too small to share.
  int ranks_wanted(int64_t row_count, int64_t token_count) const;

  // Runs one batch and fills the wanted outputs. Allocates only when a batch is larger than all
  // before it. kOutOfMemory when the arena cannot grow. REQUIRES: check() of every request was ok;
  // the view's totals are right.
  //
  // Calls the site's hook between the instructions of the plan, and between the parts that an
  // instruction has (blocks of rows, heads; where the site says finely, also columns).
  Status run(const BatchView& batch, const RunSite& site);
  // On the front lane of the whole team.
  Status run(const BatchView& batch) {
    return run(batch, {.lane = &options_.team->front(), .rank_count = options_.team->size()});
  }

  const Plan& plan() const { return *plan_; }
  uint64_t arena_bytes() const { return arena_.bytes(); }

 private:
  struct Rank;
  Executor(std::shared_ptr<const Plan> plan, Program program, const ExecutorOptions& options);

  Status bind(const BatchView& batch);
  void choose_split();
  void order_rows(const BatchView& batch);
  Status lay_out();
  static void run_rank(void* context, int rank);
  void run_chunk(Rank& rank);
  void run_block(const Step& step, Rank& rank, Range block);
  void yield(const Rank& rank) const;
  void run_together(Rank& rank);
  void run_part_of_step(const Step& step, const Segment& segment, Rank& rank);
  Range rows_of_rank(int rank) const;
  Range tokens_of(Range rows) const;
  Range chunk_at(int64_t begin, int64_t end) const;
  Rank make_rank(int index, Range rows) const;
  void copy_rows(const Rank& rank, Range rows, bool into_batch) const;

  void run_row_local(const Step& step, Rank& rank, Range rows, Range columns);
  void run_mixing(const Step& step, Rank& rank, Range items);
  void run_gemm(const Step& step, Rank& rank, Range rows, Range columns);
  void run_embedding(const Step& step, Rank& rank, Range tokens);
  void run_binary(const Step& step, Rank& rank, Range rows);
  void run_attention(const Step& step, Rank& rank, Range items);
  void run_pool(const Step& step, Rank& rank, Range sequences);
  std::byte* row_at(int32_t tensor, int64_t row, const Rank& rank) const;
  template <typename T>
  T* rows_at(int32_t tensor, int64_t row, const Rank& rank) const;
  int64_t row_count_of(RowDomain domain) const;

  const std::shared_ptr<const Plan> plan_;
  const Program program_;
  const std::vector<IndexLimit> index_limits_;
  const ExecutorOptions options_;
  Arena arena_;

  // The batch that runs.
  RunSite site_;
  struct BatchRow {
    const RequestView* request;
    int64_t row;    // within the request
    int64_t token;  // of its first token within the request
  };
  bool together_ = false;
  int ranks_ = 1;
  int64_t row_count_ = 0;
  int64_t token_count_ = 0;
  int64_t length_max_ = 0;
  std::vector<BatchRow> arrived_;      // rows as they came
  std::vector<int32_t> lengths_;       // of arrived_
  std::vector<BatchRow> rows_;         // as they run: those of rank 0 first
  std::vector<int64_t> token_begins_;  // [row_count_ + 1], in the order of rows_
  std::vector<int32_t> order_;
  std::vector<int64_t> rank_ends_;  // rows_ of rank r end here
  std::vector<int64_t> loads_;
  int64_t chunk_rows_max_ = 0;  // the largest chunk of any rank
  int64_t chunk_tokens_max_ = 0;
  int64_t block_rows_ = 0;    // that a block has room for
  int64_t region_bytes_ = 0;  // of one rank; of all, together
  float* scratch_base_ = nullptr;
  int64_t scratch_floats_ = 0;  // of one rank
};

}  // namespace pelton
