#include "csrc/serve/plan_runner.h"

#include <utility>

namespace pelton {

Result<std::shared_ptr<PlanRunner>> PlanRunner::create(std::shared_ptr<const Plan> plan,
                                                       const Options& options) {
  auto allocator = std::make_unique<Allocator>(cpu_device(), options.memory);
  const ExecutorOptions executor_options{options.team, options.threads_max, allocator.get(),
                                         options.kernels};
  Result<std::unique_ptr<Executor>> executor = Executor::create(std::move(plan), executor_options);
  if (!executor.ok()) return executor.status();
  return std::shared_ptr<PlanRunner>(
      new PlanRunner(std::move(allocator), std::move(executor).value()));
}

}  // namespace pelton
