// Adds Front and Connection, the request path of one event loop, to the module.
#pragma once

#include "csrc/bindings/conversions.h"

namespace pelton {

void bind_front(py::module_& module);

}  // namespace pelton
