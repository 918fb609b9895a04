// The codecs of inference requests and answers as Python functions, for tests that hold them
// against the Python codecs.
#pragma once

#include <pybind11/pybind11.h>

namespace pelton {

void bind_codec(pybind11::module_& module);

}  // namespace pelton
