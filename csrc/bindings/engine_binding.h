// Adds Engine and CompletionQueue to the module.
#pragma once

#include "csrc/bindings/conversions.h"

namespace pelton {

void bind_engine(py::module_& module);

}  // namespace pelton
