// Inputs of a dense model: every tensor has the rows of the request on axis 0.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "csrc/front/model_contract.h"

namespace pelton {

// Index of the first NaN or infinity; nullopt where there is none, or where the type has none.
// `data` need not be aligned. Time: that of reading `data`.
std::optional<size_t> first_non_finite(DType dtype, std::span<const std::byte> data);

// Names, datatypes, shapes, rows, finite values. Fills row_count, token_count and inputs.
ProblemPtr bind_dense(const ModelContract& contract, const InferRequest& request,
                      BoundRequest& bound);

}  // namespace pelton
