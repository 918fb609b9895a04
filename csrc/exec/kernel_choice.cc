#include "csrc/exec/kernel_choice.h"

#include <array>

#include "csrc/base/cpu_features.h"

namespace pelton {

Result<kernels::KernelSet> choose_kernels(const char* forced) {
  const kernels::IsaFeatures features = detect_cpu_features();
  const Result<kernels::Isa> isa = choose_isa(features, forced);
  if (!isa.ok()) return isa.status();
  return kernels::select_kernels(features, isa.value());
}

Result<std::vector<KernelName>> name_kernels(const char* forced) {
  const kernels::IsaFeatures features = detect_cpu_features();
  const Result<kernels::Isa> isa = choose_isa(features, forced);
  if (!isa.ok()) return isa.status();
  std::array<kernels::KernelChoice, kernels::kKernelOpCount> choices;
  kernels::describe_kernels(features, isa.value(), choices);
  std::vector<KernelName> names;
  for (const kernels::KernelChoice& choice : choices) {
    names.push_back({std::string(choice.op), std::string(choice.variant)});
  }
  return names;
}

}  // namespace pelton
