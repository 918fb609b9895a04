#include "csrc/front/bind_dense.h"

#include <algorithm>
#include <cstring>

#include "csrc/front/bind_names.h"
#include "csrc/front/bind_problems.h"
#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

// The fields of a floating-point type. The exponent is all ones in NaN and infinity only.
template <typename Bits>
struct FloatBits {
  Bits exponent;
  Bits mantissa;
};

template <typename Bits>
Bits load(const std::byte* data, size_t index) {
  Bits bits;
  std::memcpy(&bits, data + index * sizeof(Bits), sizeof(Bits));
  return bits;
}

// The sign of the result tells whether one of kCount values is not finite: one more in the exponent
// carries into the sign where it was all ones, and nowhere else. No branches and a constant count:
// the compiler makes vectors of it.
template <size_t kCount, typename Bits>
Bits carries_of(FloatBits<Bits> format, const std::byte* data) {
  const auto one = static_cast<Bits>(format.mantissa + 1);
  const auto magnitude = static_cast<Bits>(format.exponent | format.mantissa);
  Bits carries = 0;
  for (size_t i = 0; i < kCount; ++i) {
    carries = static_cast<Bits>(carries | ((load<Bits>(data, i) & magnitude) + one));
  }
  return carries;
}

template <typename Bits>
std::optional<size_t> find_non_finite(FloatBits<Bits> format, std::span<const std::byte> data) {
  constexpr size_t kBlock = 64 / sizeof(Bits);
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  const size_t count = data.size() / sizeof(Bits);
  size_t begin = 0;
  for (; begin + kBlock <= count; begin += kBlock) {
    if (carries_of<kBlock>(format, data.data() + begin * sizeof(Bits)) & kSign) break;
  }
  for (size_t i = begin; i < count; ++i) {
    if ((load<Bits>(data.data(), i) & format.exponent) == format.exponent) return i;
  }
  return std::nullopt;
}

constexpr FloatBits<uint16_t> kFp16Bits = {0x7C00, 0x03FF};
constexpr FloatBits<uint16_t> kBf16Bits = {0x7F80, 0x007F};
constexpr FloatBits<uint32_t> kFp32Bits = {0x7F80'0000, 0x007F'FFFF};
constexpr FloatBits<uint64_t> kFp64Bits = {0x7FF0'0000'0000'0000, 0x000F'FFFF'FFFF'FFFF};

template <typename Bits>
const char* non_finite_text(FloatBits<Bits> format, const std::byte* data, size_t index) {
  const auto bits = load<Bits>(data, index);
  if ((bits & format.mantissa) != 0) return "nan";
  return (bits >> (8 * sizeof(Bits) - 1)) != 0 ? "-inf" : "inf";
}

const char* non_finite_text(DType dtype, const std::byte* data, size_t index) {
  switch (dtype) {
    case DType::kFp16:
      return non_finite_text(kFp16Bits, data, index);
    case DType::kBf16:
      return non_finite_text(kBf16Bits, data, index);
    case DType::kFp64:
      return non_finite_text(kFp64Bits, data, index);
    default:
      return non_finite_text(kFp32Bits, data, index);
  }
}

// The coordinates of a flat, row-major index, as "[0, 3]".
std::string coordinates_text(const Shape& shape, size_t flat) {
  Shape place = shape;
  for (int axis = shape.rank - 1; axis >= 0; --axis) {
    const auto at = static_cast<size_t>(axis);
    const auto dim = static_cast<size_t>(shape.dims[at]);
    place.dims[at] = static_cast<int64_t>(flat % dim);
    flat /= dim;
  }
  return shape_text(place.view());
}

bool fits(std::span<const int64_t> shape, std::span<const int64_t> wanted) {
  if (shape.size() != wanted.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (wanted[i] != -1 && wanted[i] != shape[i]) return false;
  }
  return true;
}

ProblemPtr check_values(const TensorView& tensor) {
  const std::optional<size_t> at = first_non_finite(tensor.dtype, tensor.data);
  if (!at) return nullptr;
  std::string got = non_finite_text(tensor.dtype, tensor.data.data(), *at);
  got += " at " + coordinates_text(tensor.shape, *at);
  return wrong_input(tensor.name, "finite numbers", std::move(got));
}

}  // namespace

std::optional<size_t> first_non_finite(DType dtype, std::span<const std::byte> data) {
  switch (dtype) {
    case DType::kFp16:
      return find_non_finite(kFp16Bits, data);
    case DType::kBf16:
      return find_non_finite(kBf16Bits, data);
    case DType::kFp32:
      return find_non_finite(kFp32Bits, data);
    case DType::kFp64:
      return find_non_finite(kFp64Bits, data);
    default:
      return std::nullopt;
  }
}

ProblemPtr bind_dense(const ModelContract& contract, const InferRequest& request,
                      BoundRequest& bound) {
  PELTON_RETURN_IF_PROBLEM(check_names(request.inputs, contract.inputs));
  for (const TensorSpec& spec : contract.inputs) {
    const TensorView& tensor = *find_tensor(request.inputs, spec.name);
    if (tensor.dtype != spec.dtype) {
      return wrong_input(spec.name, "datatype " + std::string(dtype_name(spec.dtype)),
                         std::string(dtype_name(tensor.dtype)));
    }
    if (!fits(tensor.shape.view(), spec.shape)) {
      return wrong_input(spec.name, "shape " + shape_text(spec.shape),
                         shape_text(tensor.shape.view()));
    }
    const int64_t rows = tensor.shape.dims[0];
    if (bound.inputs.empty()) {
      bound.row_count = bound.token_count = rows;
    } else if (rows != bound.row_count) {
      return wrong_input(spec.name,
                         std::to_string(bound.row_count) + " rows, as input " +
                             python_repr(contract.inputs.front().name) + " has",
                         std::to_string(rows));
    }
    if (!contract.allow_non_finite) PELTON_RETURN_IF_PROBLEM(check_values(tensor));
    bound.inputs.push_back(tensor.data.data());
  }
  return nullptr;
}

}  // namespace pelton
