// The table of kernels: every variant of every op from kernels/lists, and the choice of one set for
// this CPU.
#pragma once

#include <span>
#include <string_view>

#include "kernels/include/f32_attention.h"
#include "kernels/include/f32_gemm.h"
#include "kernels/include/f32_rows.h"
#include "kernels/include/isa.h"

namespace pelton::kernels {

template <typename Function>
struct Variant {
  const char* name;  // "f32_gemm__avx2"
  Isa isa;
  Function function;
};

// All variants of one op, slowest instruction set first; each may be called only where
// isa_runs_on() says so.
std::span<const Variant<F32GemmFunction>> f32_gemm_variants();
std::span<const Variant<F32AttentionFunction>> f32_attention_variants();
std::span<const Variant<F32LayerNormFunction>> f32_layer_norm_variants();
std::span<const Variant<F32EmbeddingFunction>> f32_embedding_variants();
std::span<const Variant<F32PoolFunction>> f32_pool_variants();
std::span<const Variant<F32L2NormalizeFunction>> f32_l2_normalize_variants();
std::span<const Variant<F32ActivationFunction>> f32_activation_variants();
std::span<const Variant<F32BinaryFunction>> f32_binary_variants();

// One function per op, all of them set.
struct KernelSet {
  F32GemmFunction f32_gemm = nullptr;
  F32AttentionFunction f32_attention = nullptr;
  F32LayerNormFunction f32_layer_norm = nullptr;
  F32EmbeddingFunction f32_embedding = nullptr;
  F32PoolFunction f32_pool = nullptr;
  F32L2NormalizeFunction f32_l2_normalize = nullptr;
  F32ActivationFunction f32_activation = nullptr;
  F32BinaryFunction f32_binary = nullptr;
};

// For each op the last listed variant that is no higher than `highest` and runs on `features`.
KernelSet select_kernels(const IsaFeatures& features, Isa highest);

struct KernelChoice {
  std::string_view op;
  std::string_view variant;
};
// The names behind select_kernels(), one per op. `choices` must hold kKernelOpCount entries.
inline constexpr int kKernelOpCount = 8;
void describe_kernels(const IsaFeatures& features, Isa highest, std::span<KernelChoice> choices);

}  // namespace pelton::kernels
