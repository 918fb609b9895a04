// Parameters of requests, sorted into those with a meaning and the caller's own: shared by every
// format. The oracle is read_options() of pyserver/pelton/codec/_request.py.
#pragma once

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"

namespace pelton {

// Moves what has a meaning from request.parameters, which holds all parameters that came, to the
// members for it; the others stay in their order. kInvalidInput for reserved names, sequences, and
// values of the wrong type or range.
ProblemPtr apply_parameters(InferRequest& request);

// Whether a parameter of an input or output says that its data is in shared memory.
bool is_memory_parameter(std::string_view name);

}  // namespace pelton
