// Which kernels this process runs: the best variants for its CPU, or those that PELTON_ISA forces.
#pragma once

#include <string>
#include <vector>

#include "csrc/base/status.h"
#include "kernels/include/registry.h"

namespace pelton {

// `forced`: PELTON_ISA's value or nullptr. kInvalidArgument when it is unknown or does not run
// here.
Result<kernels::KernelSet> choose_kernels(const char* forced);

struct KernelName {
  std::string op;
  std::string variant;  // "f32_gemm__avx2"
};
// The same choice by name, one entry per op.
Result<std::vector<KernelName>> name_kernels(const char* forced);

}  // namespace pelton
