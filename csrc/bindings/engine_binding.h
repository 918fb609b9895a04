// Adds Engine and CompletionQueue to the module.
#pragma once

#include <memory>

#include "csrc/bindings/conversions.h"
#include "csrc/serve/engine.h"

namespace pelton {

void bind_engine(py::module_& module);

// The engine inside a Python Engine, and the runner of one of its models. Raises NativeError
// (kNotFound) for a model that it does not have.
struct EngineModel {
  Engine* engine = nullptr;
  std::shared_ptr<const Runner> runner;
};
EngineModel engine_model(const py::handle& engine, ModelId model);

}  // namespace pelton
