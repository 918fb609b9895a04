// The dispatch is proved: each instruction set can be forced, and the name that is shown is the
// function that is called.
#include <array>
#include <string>

#include "kernels/include/registry.h"
#include "tests/native/test.h"

namespace pelton::kernels {
namespace {

TEST(registry_lists_the_generic_variant_of_every_op_first) {
  EXPECT_EQ(std::string(f32_gemm_variants()[0].name), "f32_gemm__generic");
  EXPECT_EQ(std::string(f32_attention_variants()[0].name), "f32_attention__generic");
  EXPECT_EQ(std::string(f32_binary_variants()[0].name), "f32_binary__generic");
}

TEST(registry_takes_the_best_variant_that_runs_and_is_allowed) {
  const IsaFeatures all{true, true, true, true, true, true, true};
  const IsaFeatures avx2{true, true, true, false, false, false, false};
  const IsaFeatures no_fma{true, false, true, true, true, true, true};
  const auto gemm = f32_gemm_variants();
  EXPECT(select_kernels(all, Isa::kAvx512).f32_gemm == gemm[2].function);
  EXPECT(select_kernels(all, Isa::kAvx2).f32_gemm == gemm[1].function);
  EXPECT(select_kernels(all, Isa::kGeneric).f32_gemm == gemm[0].function);
  EXPECT(select_kernels(avx2, Isa::kAvx512).f32_gemm == gemm[1].function);
  EXPECT(select_kernels(no_fma, Isa::kAvx512).f32_gemm == gemm[0].function);
}

TEST(registry_names_what_it_chose) {
  std::array<KernelChoice, kKernelOpCount> choices;
  describe_kernels({}, Isa::kAvx512, choices);
  for (const KernelChoice& choice : choices) {
    EXPECT_EQ(std::string(choice.variant), std::string(choice.op) + "__generic");
  }
}

}  // namespace
}  // namespace pelton::kernels
