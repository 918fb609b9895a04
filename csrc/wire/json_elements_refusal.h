// Why the data of a tensor is refused: the exact problem that pyserver/pelton/codec/_numbers.py
// finds, which checks the nesting, then the number of elements, then the kind of all of them, then
// their range. Only for data that read_json_elements() could not take.
#pragma once

#include <cstdint>
#include <optional>

#include "csrc/base/problem.h"
#include "csrc/base/tensor.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/where.h"

namespace pelton {

// Never nullptr.
ProblemPtr refuse_json_elements(const JsonDocument& document, const std::optional<JsonValue>& data,
                                int64_t count, const Where& where, const TensorView& tensor);

}  // namespace pelton
