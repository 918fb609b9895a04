// PlanRunner: the Runner of a compiled plan: an executor with memory of its own, counted and
// capped.
#pragma once

#include <memory>

#include "csrc/exec/executor.h"
#include "csrc/memory/allocator.h"
#include "csrc/serve/runner.h"

namespace pelton {

// run() as Runner says; the rest is thread-safe.
class PlanRunner final : public Runner {
 public:
  struct Options {
    Team* team = nullptr;  // outlives the runner
    int threads_max = 1;
    Allocator::Options memory;
    kernels::KernelSet kernels;
  };
  // kUnsupported: the plan asks for what the kernels do not do.
  static Result<std::shared_ptr<PlanRunner>> create(std::shared_ptr<const Plan> plan,
                                                    const Options& options);

  // Executor::check()
  Status check(const RequestView& request) const override { return executor_->check(request); }
  // On the whole team. REQUIRES: nothing else runs on it.
  Status run(const BatchView& batch, Nanos) override { return executor_->run(batch); }
  Status run_at(const BatchView& batch, Nanos, const RunSite& site) override {
    return executor_->run(batch, site);
  }
  int threads_wanted(int64_t row_count, int64_t token_count) const override {
    return executor_->ranks_wanted(row_count, token_count);
  }
  const Plan& plan() const { return executor_->plan(); }
  MemoryStats memory() const { return allocator_->stats(); }

 private:
  PlanRunner(std::unique_ptr<Allocator> allocator, std::unique_ptr<Executor> executor)
      : allocator_(std::move(allocator)), executor_(std::move(executor)) {}

  const std::unique_ptr<Allocator> allocator_;  // before the executor, whose arena it owns
  const std::unique_ptr<Executor> executor_;
};

}  // namespace pelton
