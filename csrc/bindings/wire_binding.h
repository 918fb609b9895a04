// The codecs of csrc/wire as Python functions, for tests that hold them against the Python codecs.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "csrc/base/infer_request.h"
#include "csrc/wire/limits.h"

namespace pelton {

void bind_wire(pybind11::module_& module);

// Limits by the names of DecodeLimits; the others keep their defaults.
DecodeLimits limits_of(const pybind11::dict& limits);
// (name, OIP datatype, dims) of each input of a model.
std::vector<TensorSpec> specs_of(const pybind11::sequence& specs);
// The members of a request as a dict; tensors as (name, OIP datatype, shape, data), data as bytes
// or as a list of bytes.
pybind11::dict request_dict(const InferRequest& request);

}  // namespace pelton
