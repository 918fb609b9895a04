#include "kernels/include/registry.h"

#include <array>
#include <cstddef>

namespace pelton::kernels {

#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32GemmParams& params);
#include "kernels/lists/f32_gemm.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32AttentionParams& params);
#include "kernels/lists/f32_attention.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32LayerNormParams& params);
#include "kernels/lists/f32_layer_norm.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32EmbeddingParams& params);
#include "kernels/lists/f32_embedding.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32PoolParams& params);
#include "kernels/lists/f32_pool.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32L2NormalizeParams& params);
#include "kernels/lists/f32_l2_normalize.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32ActivationParams& params);
#include "kernels/lists/f32_activation.inc"
#undef PELTON_KERNEL
#define PELTON_KERNEL(op, isa_suffix) void op##__##isa_suffix(const F32BinaryParams& params);
#include "kernels/lists/f32_binary.inc"
#undef PELTON_KERNEL

namespace {

constexpr Isa isa_of(std::string_view suffix) {
  return suffix == "avx512" ? Isa::kAvx512 : suffix == "avx2" ? Isa::kAvx2 : Isa::kGeneric;
}

template <typename Function>
const Variant<Function>& best(std::span<const Variant<Function>> variants,
                              const IsaFeatures& features, Isa highest) {
  const Variant<Function>* chosen = &variants[0];
  for (const Variant<Function>& variant : variants) {
    if (variant.isa <= highest && isa_runs_on(variant.isa, features)) chosen = &variant;
  }
  return *chosen;
}

}  // namespace

#define PELTON_KERNEL(op, isa_suffix) \
  {#op "__" #isa_suffix, isa_of(#isa_suffix), op##__##isa_suffix},

std::span<const Variant<F32GemmFunction>> f32_gemm_variants() {
  static constexpr Variant<F32GemmFunction> kVariants[] = {
#include "kernels/lists/f32_gemm.inc"
  };
  return kVariants;
}

std::span<const Variant<F32AttentionFunction>> f32_attention_variants() {
  static constexpr Variant<F32AttentionFunction> kVariants[] = {
#include "kernels/lists/f32_attention.inc"
  };
  return kVariants;
}

std::span<const Variant<F32LayerNormFunction>> f32_layer_norm_variants() {
  static constexpr Variant<F32LayerNormFunction> kVariants[] = {
#include "kernels/lists/f32_layer_norm.inc"
  };
  return kVariants;
}

std::span<const Variant<F32EmbeddingFunction>> f32_embedding_variants() {
  static constexpr Variant<F32EmbeddingFunction> kVariants[] = {
#include "kernels/lists/f32_embedding.inc"
  };
  return kVariants;
}

std::span<const Variant<F32PoolFunction>> f32_pool_variants() {
  static constexpr Variant<F32PoolFunction> kVariants[] = {
#include "kernels/lists/f32_pool.inc"
  };
  return kVariants;
}

std::span<const Variant<F32L2NormalizeFunction>> f32_l2_normalize_variants() {
  static constexpr Variant<F32L2NormalizeFunction> kVariants[] = {
#include "kernels/lists/f32_l2_normalize.inc"
  };
  return kVariants;
}

std::span<const Variant<F32ActivationFunction>> f32_activation_variants() {
  static constexpr Variant<F32ActivationFunction> kVariants[] = {
#include "kernels/lists/f32_activation.inc"
  };
  return kVariants;
}

std::span<const Variant<F32BinaryFunction>> f32_binary_variants() {
  static constexpr Variant<F32BinaryFunction> kVariants[] = {
#include "kernels/lists/f32_binary.inc"
  };
  return kVariants;
}

#undef PELTON_KERNEL

KernelSet select_kernels(const IsaFeatures& features, Isa highest) {
  KernelSet set;
  set.f32_gemm = best(f32_gemm_variants(), features, highest).function;
  set.f32_attention = best(f32_attention_variants(), features, highest).function;
  set.f32_layer_norm = best(f32_layer_norm_variants(), features, highest).function;
  set.f32_embedding = best(f32_embedding_variants(), features, highest).function;
  set.f32_pool = best(f32_pool_variants(), features, highest).function;
  set.f32_l2_normalize = best(f32_l2_normalize_variants(), features, highest).function;
  set.f32_activation = best(f32_activation_variants(), features, highest).function;
  set.f32_binary = best(f32_binary_variants(), features, highest).function;
  return set;
}

void describe_kernels(const IsaFeatures& features, Isa highest, std::span<KernelChoice> choices) {
  size_t i = 0;
  choices[i++] = {"f32_gemm", best(f32_gemm_variants(), features, highest).name};
  choices[i++] = {"f32_attention", best(f32_attention_variants(), features, highest).name};
  choices[i++] = {"f32_layer_norm", best(f32_layer_norm_variants(), features, highest).name};
  choices[i++] = {"f32_embedding", best(f32_embedding_variants(), features, highest).name};
  choices[i++] = {"f32_pool", best(f32_pool_variants(), features, highest).name};
  choices[i++] = {"f32_l2_normalize", best(f32_l2_normalize_variants(), features, highest).name};
  choices[i++] = {"f32_activation", best(f32_activation_variants(), features, highest).name};
  choices[i++] = {"f32_binary", best(f32_binary_variants(), features, highest).name};
}

}  // namespace pelton::kernels
