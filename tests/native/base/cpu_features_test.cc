#include "csrc/base/cpu_features.h"

#include "tests/native/test.h"

namespace pelton {
namespace {

using kernels::Isa;
using kernels::IsaFeatures;

TEST(choose_isa_follows_the_forced_name_or_refuses) {
  const IsaFeatures avx2{true, true, true, false, false, false, false};
  EXPECT(choose_isa(avx2, nullptr).value() == Isa::kAvx2);
  EXPECT(choose_isa(avx2, "").value() == Isa::kAvx2);
  EXPECT(choose_isa(avx2, "generic").value() == Isa::kGeneric);
  EXPECT(choose_isa(avx2, "avx512").status().code() == StatusCode::kInvalidArgument);
  EXPECT(choose_isa(avx2, "sse9").status().code() == StatusCode::kInvalidArgument);
  EXPECT(choose_isa({}, nullptr).value() == Isa::kGeneric);
}

}  // namespace
}  // namespace pelton
