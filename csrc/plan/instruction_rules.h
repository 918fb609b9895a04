// What one instruction of a plan must satisfy on its own: operands present or absent, roles,
// dtypes, shapes that agree, attributes in range (format.h, Op). Pure; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "csrc/base/status.h"
#include "csrc/plan/plan.h"

namespace pelton {

// ok, or kCorruptPlan naming the operand or attribute, what was expected and what came.
// REQUIRES: every operand is kNoTensor or an index into `tensors`, whose records are valid.
Status check_instruction(const PlanInstruction& instruction, std::span<const PlanTensor> tensors);

// "gemm" and so on; empty when no op has this number.
std::string_view op_name(plan_format::Op op);

}  // namespace pelton
