#include "csrc/wire/raw_tensor.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

constexpr size_t kLengthBytes = 4;

template <typename T>
std::string list_text(std::span<const T> dims) {
  std::string text = "[";
  for (const T dim : dims) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(dim);
  }
  return text += ']';
}

// a * b, or the largest value where that is larger. REQUIRES: both are 0 or more.
int64_t multiply(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

// The elements of BYTES: a uint32 length and its bytes each.
ProblemPtr split_bytes(std::span<const std::byte> raw, int64_t count, const Where& where,
                       int64_t offset, Scratch& scratch, TensorView& tensor) {
  const size_t size = raw.size();
  const int64_t bytes_min = multiply(count, kLengthBytes);
  if (bytes_min > static_cast<int64_t>(size)) {
    return where.bad(
        std::to_string(count) + " elements, so " + std::to_string(bytes_min) + " bytes or more",
        std::to_string(size) + " bytes", offset);
  }
  const std::span<std::string_view> elements =
      scratch.make<std::string_view>(static_cast<size_t>(count));
  size_t position = 0;
  for (size_t index = 0; index < elements.size(); ++index) {
    const auto at = [offset](size_t place) { return offset + static_cast<int64_t>(place); };
    const Where place = where.item(static_cast<int64_t>(index));
    if (size - position < kLengthBytes) {
      return place.bad("a length of 4 bytes", std::to_string(size - position) + " bytes",
                       at(position));
    }
    uint32_t length;
    std::memcpy(&length, raw.data() + position, kLengthBytes);
    position += kLengthBytes;
    if (length > size - position) {
      return place.bad("an element of " + std::to_string(length) + " bytes",
                       std::to_string(size - position) + " bytes left", at(position));
    }
    elements[index] = {reinterpret_cast<const char*>(raw.data()) + position, length};
    position += length;
  }
  if (position != size) {
    return where.bad(std::to_string(count) + " elements",
                     std::to_string(size - position) + " bytes behind the last",
                     offset + static_cast<int64_t>(position));
  }
  tensor.elements = elements;
  return nullptr;
}

}  // namespace

std::string shape_as_list(std::span<const int64_t> dims) { return list_text(dims); }
std::string shape_as_list(std::span<const uint64_t> dims) { return list_text(dims); }

ProblemPtr make_shape(std::span<const uint64_t> dims, const Where& where,
                      const DecodeLimits& limits, Shape& shape, int64_t& count) {
  const auto elements_max = static_cast<uint64_t>(limits.elements_max);
  uint64_t product = 1;
  bool is_empty = false;
  for (const uint64_t dim : dims) {
    is_empty |= dim == 0;
    if (__builtin_mul_overflow(product, std::max<uint64_t>(dim, 1), &product) ||
        product > elements_max) {
      return where.bad("at most " + std::to_string(elements_max) + " elements",
                       shorten("shape " + shape_as_list(dims)));
    }
  }
  shape.rank = 0;
  for (const uint64_t dim : dims) shape.append(static_cast<int64_t>(dim));
  count = is_empty ? 0 : static_cast<int64_t>(product);
  return nullptr;
}

ProblemPtr view_raw(std::span<const std::byte> raw, int64_t count, const Where& where,
                    int64_t offset, Scratch& scratch, TensorView& tensor) {
  tensor.data = {};
  tensor.elements = {};
  if (tensor.dtype == DType::kBytes) return split_bytes(raw, count, where, offset, scratch, tensor);
  const int64_t expected = multiply(count, static_cast<int64_t>(dtype_bytes(tensor.dtype)));
  if (static_cast<int64_t>(raw.size()) != expected) {
    return where.bad(std::to_string(expected) + " bytes for " +
                         std::string(dtype_name(tensor.dtype)) + " of shape " +
                         shape_as_list(tensor.shape.view()),
                     std::to_string(raw.size()) + " bytes", offset);
  }
  if (tensor.dtype == DType::kBool) {
    const auto wrong =
        std::find_if(raw.begin(), raw.end(), [](std::byte octet) { return octet > std::byte{1}; });
    if (wrong != raw.end()) {
      const int64_t index = wrong - raw.begin();
      return where.item(index).bad("a byte of 0 or 1 for BOOL",
                                   std::to_string(static_cast<int>(*wrong)), offset + index);
    }
  }
  tensor.data = raw;
  return nullptr;
}

ProblemPtr deduce_shape(const TensorSpec& spec, int64_t count, const Where& where, Shape& shape) {
  shape.rank = 0;
  int free_count = 0;
  size_t free_axis = 0;
  int64_t known = 1;
  for (size_t axis = 0; axis < spec.shape.size(); ++axis) {
    const int64_t dim = axis == 0 && spec.shape[axis] == -1 ? 1 : spec.shape[axis];
    shape.append(dim);
    if (dim == -1) {
      ++free_count;
      free_axis = axis;
    } else {
      known = multiply(known, dim);
    }
  }
  if (free_count > 1) {
    return where.refused("data without a shape cannot fill the " + std::to_string(free_count) +
                         " free dimensions of " +
                         shape_as_list(std::span<const int64_t>(spec.shape)));
  }
  if (free_count == 1) {
    if (known == 0 || count % known != 0) {
      return where.bad("a multiple of " + std::to_string(known) + " elements for " +
                           shape_as_list(std::span<const int64_t>(spec.shape)),
                       std::to_string(count));
    }
    shape.dims[free_axis] = count / known;
  } else if (count != known) {
    return where.bad(std::to_string(known) + " elements for one row of " +
                         shape_as_list(std::span<const int64_t>(spec.shape)),
                     std::to_string(count));
  }
  return nullptr;
}

ProblemPtr only_input(std::span<const TensorSpec> specs, std::string_view what,
                      const TensorSpec*& spec) {
  if (specs.size() == 1) {
    spec = &specs[0];
    return nullptr;
  }
  const std::string got = "a model of " + std::to_string(specs.size()) + " inputs";
  ProblemPtr problem =
      make_problem(ProblemKind::kInvalidInput,
                   std::string(what) + " needs a model of one input, this is " + got);
  problem->expected = "a model of one input";
  problem->got = got;
  return problem;
}

}  // namespace pelton
