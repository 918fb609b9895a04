#include "csrc/base/cpu_features.h"

#include <array>
#include <cstring>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pelton {
namespace {

using kernels::Isa;
using kernels::IsaFeatures;

constexpr std::array<Isa, 3> kIsas = {Isa::kGeneric, Isa::kAvx2, Isa::kAvx512};

#if defined(__x86_64__)
uint64_t saved_register_state() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}
#endif

}  // namespace

IsaFeatures detect_cpu_features() {
  IsaFeatures features;
#if defined(__x86_64__)
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return features;
  const bool has_xgetbv = (c >> 27 & 1) != 0;
  const uint64_t state = has_xgetbv ? saved_register_state() : 0;
  const bool saves_ymm = (state & 0x6) == 0x6;
  const bool saves_zmm = (state & 0xe6) == 0xe6;
  features.fma = saves_ymm && (c >> 12 & 1) != 0;
  features.f16c = saves_ymm && (c >> 29 & 1) != 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return features;
  features.avx2 = saves_ymm && (b >> 5 & 1) != 0;
  features.avx512f = saves_zmm && (b >> 16 & 1) != 0;
  features.avx512dq = saves_zmm && (b >> 17 & 1) != 0;
  features.avx512bw = saves_zmm && (b >> 30 & 1) != 0;
  features.avx512vl = saves_zmm && (b >> 31 & 1) != 0;
#endif
  return features;
}

Result<Isa> choose_isa(const IsaFeatures& features, const char* forced) {
  Isa best = Isa::kGeneric;
  for (const Isa isa : kIsas) {
    if (kernels::isa_runs_on(isa, features)) best = isa;
  }
  if (forced == nullptr || *forced == '\0') return best;
  for (const Isa isa : kIsas) {
    if (std::strcmp(forced, kernels::isa_name(isa)) != 0) continue;
    if (kernels::isa_runs_on(isa, features)) return isa;
    return invalid_argument(std::string("PELTON_ISA=") + forced +
                            " does not run on this CPU; the best is " + kernels::isa_name(best));
  }
  return invalid_argument(std::string("PELTON_ISA: expected generic, avx2 or avx512, got '") +
                          forced + "'");
}

}  // namespace pelton
