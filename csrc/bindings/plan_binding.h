// Adds Plan to the module.
#pragma once

#include "csrc/bindings/conversions.h"

namespace pelton {

void bind_plan(py::module_& module);

}  // namespace pelton
