// pelton._native: conversion only. Its Python face is pyserver/pelton/_native.pyi.
#include <cstdlib>
#include <string>
#include <string_view>

#include "csrc/base/cpu_features.h"
#include "csrc/base/hash.h"
#include "csrc/bindings/codec_binding.h"
#include "csrc/bindings/control_binding.h"
#include "csrc/bindings/conversions.h"
#include "csrc/bindings/engine_binding.h"
#include "csrc/bindings/front_binding.h"
#include "csrc/bindings/plan_binding.h"
#include "csrc/bindings/problem_binding.h"
#include "csrc/bindings/text_binding.h"
#include "csrc/bindings/wire_binding.h"
#include "csrc/exec/kernel_choice.h"

namespace pelton {
namespace {

py::dict cpu_features() {
  const auto features = detect_cpu_features();
  py::dict result;
  result["avx2"] = features.avx2;
  result["fma"] = features.fma;
  result["f16c"] = features.f16c;
  result["avx512f"] = features.avx512f;
  result["avx512bw"] = features.avx512bw;
  result["avx512vl"] = features.avx512vl;
  result["avx512dq"] = features.avx512dq;
  return result;
}

py::dict kernel_variants() {
  py::dict result;
  for (const KernelName& name : value_or_raise(name_kernels(std::getenv("PELTON_ISA")))) {
    result[py::str(name.op)] = name.variant;
  }
  return result;
}

uint64_t hash_bytes(const py::bytes& data, uint64_t seed) {
  const std::string_view view = data;
  py::gil_scoped_release release;
  return xxh64(view.data(), view.size(), seed);
}

}  // namespace
}  // namespace pelton

PYBIND11_MODULE(_native, module) {
  module.doc() = "Pelton's native engine. Private: use pelton.bridge.";
  pelton::bind_error(module);
  pelton::bind_problem(module);
  pelton::bind_plan(module);
  pelton::bind_engine(module);
  pelton::bind_text(module);
  pelton::bind_front(module);
  pelton::bind_control(module);
  pelton::bind_wire(module);
  pelton::bind_codec(module);
  module.def("cpu_features", &pelton::cpu_features);
  module.def("kernel_variants", &pelton::kernel_variants);
  module.def("xxh64", &pelton::hash_bytes, pybind11::arg("data"), pybind11::arg("seed") = 0);
}
