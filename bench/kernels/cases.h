// What the kernels are measured on: every variant of every op that this CPU runs, on the shapes of
// all-MiniLM-L6-v2 (hidden 384, inner 1536, 12 heads of 32), on one thread, caches warm.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <span>

#include "bench/kernels/timing.h"
#include "kernels/include/registry.h"

namespace pelton::bench {

// Floats at 64-byte alignment, written once: untouched pages would all share one page of zeros.
// Movable; owns its memory.
class Floats {
 public:
  explicit Floats(int64_t count, uint32_t seed = 1)
      : data_(static_cast<float*>(
            ::operator new[](static_cast<size_t>(count) * sizeof(float), std::align_val_t{64}))) {
    std::minstd_rand engine(seed);
    std::uniform_real_distribution<float> distribution(-1.0f, 1.0f);
    for (int64_t i = 0; i < count; ++i) data_.get()[i] = distribution(engine);
  }
  float* data() { return data_.get(); }

 private:
  struct Delete {
    void operator()(float* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<float, Delete> data_;
};

// Adds a contestant for each variant of `variants` that runs on `features`. `params` must outlive
// the case.
template <typename Function, typename Params>
void add_variants(Case& to, std::span<const kernels::Variant<Function>> variants,
                  const kernels::IsaFeatures& features, const Params& params) {
  for (const kernels::Variant<Function>& variant : variants) {
    if (!kernels::isa_runs_on(variant.isa, features)) continue;
    to.contestants.push_back(
        {variant.name, variant.isa, [run = variant.function, &params] { run(params); }});
  }
}

// Adds the ceiling of a kernel that computes little: moving as many floats as it reads and writes,
// half of them each way. The buffers must outlive the case.
inline void add_copy(Case& to, float* destination, const float* source, int64_t floats_moved) {
  const auto bytes = static_cast<size_t>(floats_moved / 2) * sizeof(float);
  to.contestants.push_back(
      {"copy", kernels::Isa::kGeneric, [=] { std::memcpy(destination, source, bytes); }});
}

struct CaseOptions {
  kernels::IsaFeatures features;
  MeasureOptions measure;
  bool tiny = false;  // one small shape per op
};

void bench_gemm(const CaseOptions& options);
void bench_attention(const CaseOptions& options);
void bench_rows(const CaseOptions& options);

}  // namespace pelton::bench
