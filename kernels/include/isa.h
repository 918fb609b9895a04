// Instruction sets that kernels are written for, and the CPU features that decide which may run.
#pragma once

namespace pelton::kernels {

enum class Isa { kGeneric = 0, kAvx2 = 1, kAvx512 = 2 };

// Filled once by csrc/base/cpu_features from cpuid and xgetbv: true only if the operating system
// saves the state too.
struct IsaFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512dq = false;
};

constexpr const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kGeneric:
      return "generic";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

constexpr bool isa_runs_on(Isa isa, const IsaFeatures& features) {
  switch (isa) {
    case Isa::kGeneric:
      return true;
    case Isa::kAvx2:
      return features.avx2 && features.fma && features.f16c;
    case Isa::kAvx512:
      return features.avx2 && features.fma && features.avx512f && features.avx512bw &&
             features.avx512vl && features.avx512dq;
  }
  return false;
}

}  // namespace pelton::kernels
