// Seeded data for kernel tests.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/include/registry.h"
#include "tests/native/test.h"

namespace pelton::kernels {

inline IsaFeatures features_here() {
  return {__builtin_cpu_supports("avx2") != 0,     __builtin_cpu_supports("fma") != 0,
          __builtin_cpu_supports("f16c") != 0,     __builtin_cpu_supports("avx512f") != 0,
          __builtin_cpu_supports("avx512bw") != 0, __builtin_cpu_supports("avx512vl") != 0,
          __builtin_cpu_supports("avx512dq") != 0};
}

inline bool runs_here(Isa isa) { return isa_runs_on(isa, features_here()); }

class RandomData {
 public:
  explicit RandomData(uint64_t salt) : engine_(testing::seed() * 1'000'003 + salt) {}

  std::vector<float> floats(int64_t count, float low = -1.0f, float high = 1.0f) {
    std::uniform_real_distribution<float> distribution(low, high);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = distribution(engine_);
    return values;
  }
  int64_t integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }

 private:
  std::mt19937_64 engine_;
};

// Row-major [depth, columns] to panels of 16 columns.
inline std::vector<float> pack_panels(const std::vector<float>& b, int64_t depth, int64_t columns) {
  const int64_t panels = (columns + kPanelColumns - 1) / kPanelColumns;
  std::vector<float> packed(static_cast<size_t>(panels * depth * kPanelColumns), 0.0f);
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t c = 0; c < columns; ++c) {
      packed[static_cast<size_t>(((c / kPanelColumns) * depth + k) * kPanelColumns +
                                 c % kPanelColumns)] = b[static_cast<size_t>(k * columns + c)];
    }
  }
  return packed;
}

// Runs body(variant) for each variant that this CPU runs; says which ones it does not.
template <typename Function, typename Body>
void for_each_variant(std::span<const Variant<Function>> variants, const Body& body) {
  for (const Variant<Function>& variant : variants) {
    if (runs_here(variant.isa)) {
      body(variant);
    } else {
      testing::note(std::string("not on this CPU: ") + variant.name);
    }
  }
}

}  // namespace pelton::kernels
