// Adds the gates to the module, for replays, and says what they count. Called with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include "csrc/control/model_gates.h"

namespace pelton {

void bind_control(pybind11::module_& module);

// Counts by name: see pyserver/pelton/bridge/control.py, which gives them types.
pybind11::dict counters_dict(const ModelCountersSnapshot& snapshot);
pybind11::dict gates_dict(const ModelGatesSnapshot& snapshot);

}  // namespace pelton
