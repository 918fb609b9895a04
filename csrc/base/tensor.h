// Shapes, and tensors as requests and answers name them. Views own nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/dtype.h"

namespace pelton {

inline constexpr int kRankMax = 16;

// Dimensions of a tensor on the wire; each at least 0.
struct Shape {
  std::array<int64_t, kRankMax> dims{};
  int rank = 0;

  std::span<const int64_t> view() const { return {dims.data(), static_cast<size_t>(rank)}; }
  // REQUIRES: rank < kRankMax.
  void append(int64_t dim) { dims[static_cast<size_t>(rank++)] = dim; }
};

// What a model takes or gives; -1 marks a free dimension.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kFp32;
  std::vector<int64_t> shape;
};

// A named value. Elements of a fixed width are in `data`, row-major and little-endian, aligned to
// nothing; BOOL is one byte, 0 or 1. Those of kBytes are in `elements`, row-major.
struct TensorView {
  std::string_view name;
  DType dtype = DType::kFp32;
  Shape shape;
  std::span<const std::byte> data;
  std::span<const std::string_view> elements;
};

}  // namespace pelton
