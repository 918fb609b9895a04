// What this CPU and operating system can run, and which instruction set is allowed: PELTON_ISA
// (generic, avx2 or avx512) caps the choice.
#pragma once

#include "csrc/base/status.h"
#include "kernels/include/isa.h"

namespace pelton {

// From cpuid and xgetbv: a feature counts only if the operating system saves its registers.
kernels::IsaFeatures detect_cpu_features();

// The highest instruction set to use: the best that `features` run, or what `forced` names
// (PELTON_ISA's value; nullptr or empty = not set). kInvalidArgument when `forced` is unknown or
// does not run here.
Result<kernels::Isa> choose_isa(const kernels::IsaFeatures& features, const char* forced);

}  // namespace pelton
