// Element-wise functions that kernels apply on their own or fused behind a GEMM.
#pragma once

#include <cstdint>

namespace pelton::kernels {

// Errors are absolute, against float64, for every finite input
// (tests/native/kernels/activation_test.cc).
enum class Activation : int {
  kNone = 0,
  kRelu = 1,
  kGeluErf = 2,   // x * Phi(x), Hendrycks and Gimpel 2016; 1e-6 relative to max(1, |x|)
  kGeluTanh = 3,  // the tanh form of the same paper; differs from kGeluErf by up to 4.7e-4: never a
                  // substitute
  kTanh = 4,
  kSigmoid = 5,
  kSilu = 6,
};

}  // namespace pelton::kernels
