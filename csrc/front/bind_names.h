// Names of tensors: those that a request brings, those that it wants.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/front/model_contract.h"

namespace pelton {

// nullptr: none of that name.
const TensorView* find_tensor(std::span<const TensorView> tensors, std::string_view name);
const TensorSpec* find_spec(std::span<const TensorSpec> specs, std::string_view name);

// "a, b"
std::string joined_names(std::span<const TensorSpec> specs);

// Each tensor once and of the model's datatype; BYTES of rank 1.
ProblemPtr check_tensors(const ModelContract& contract, std::span<const TensorView> tensors);
// The tensors are exactly those of `specs`.
ProblemPtr check_names(std::span<const TensorView> tensors, std::span<const TensorSpec> specs);
// Indices of the outputs that are wanted, in the order asked for; all where none is named.
ProblemPtr bind_outputs(std::span<const TensorSpec> specs, std::span<const WantedOutput> wanted,
                        std::vector<int>& outputs);

}  // namespace pelton
