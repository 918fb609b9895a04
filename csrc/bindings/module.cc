// pelton._native: conversion only. Its Python face is pyserver/pelton/_native.pyi.
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "csrc/base/cpu_features.h"
#include "csrc/base/hash.h"
#include "csrc/bindings/conversions.h"
#include "csrc/bindings/engine_binding.h"
#include "csrc/bindings/plan_binding.h"
#include "kernels/include/registry.h"

namespace pelton {
namespace {

py::dict cpu_features() {
  const kernels::IsaFeatures features = detect_cpu_features();
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
  const kernels::IsaFeatures features = detect_cpu_features();
  const kernels::Isa isa = value_or_raise(choose_isa(features, std::getenv("PELTON_ISA")));
  std::array<kernels::KernelChoice, kernels::kKernelOpCount> choices;
  kernels::describe_kernels(features, isa, choices);
  py::dict result;
  for (const kernels::KernelChoice& choice : choices) {
    result[py::str(std::string(choice.op))] = std::string(choice.variant);
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
  pelton::bind_plan(module);
  pelton::bind_engine(module);
  module.def("cpu_features", &pelton::cpu_features);
  module.def("kernel_variants", &pelton::kernel_variants);
  module.def("xxh64", &pelton::hash_bytes, pybind11::arg("data"), pybind11::arg("seed") = 0);
}
