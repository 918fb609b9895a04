#include "csrc/front/bind_encoder.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "csrc/front/bind_names.h"
#include "csrc/front/bind_problems.h"

namespace pelton {
namespace {

constexpr std::string_view kText = "text";
constexpr std::string_view kIds = "input_ids";
constexpr std::string_view kMask = "attention_mask";
constexpr std::string_view kTypes = "token_type_ids";

// A tensor of rank 2 of INT64 or INT32, aligned to nothing.
class Matrix {
 public:
  explicit Matrix(const TensorView& tensor)
      : data_(tensor.data.data()),
        rows_(tensor.shape.dims[0]),
        width_(tensor.shape.dims[1]),
        is_wide_(tensor.dtype == DType::kInt64) {}

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }
  int64_t at(int64_t row, int64_t column) const {
    const auto index = static_cast<size_t>(row * width_ + column);
    return is_wide_ ? load<int64_t>(index) : load<int32_t>(index);
  }
  // Calls visit(T{}, start), where element i of the row is load<T>(start + i).
  template <typename Visit>
  auto visit_row(int64_t row, Visit&& visit) const {
    const auto start = static_cast<size_t>(row * width_);
    return is_wide_ ? visit(int64_t{}, start) : visit(int32_t{}, start);
  }
  template <typename T>
  T load(size_t index) const {
    T value;
    std::memcpy(&value, data_ + index * sizeof(T), sizeof(T));
    return value;
  }

 private:
  const std::byte* data_;
  int64_t rows_;
  int64_t width_;
  bool is_wide_;
};

// The dtype's name in NumPy, or in the protocol where that has it: what the oracle calls the array
// that a decoder made of the tensor.
std::string array_type_name(const TensorView& tensor) {
  if (tensor.dtype == DType::kBf16) return "UINT16";
  return std::string(dtype_name(tensor.dtype));
}

// What is not a matrix of ids; `tensor` is BYTES, of rank 1.
ProblemPtr wrong_bytes(const TensorView& tensor) {
  if (tensor.elements.empty()) return wrong_input(tensor.name, "shape [-1, -1]", "[0]");
  size_t longest = 1;
  for (const std::string_view element : tensor.elements) {
    longest = std::max(longest, element.size());
  }
  return wrong_input(tensor.name, "an array of INT64", "one of |S" + std::to_string(longest));
}

ProblemPtr check_matrix(const TensorView& tensor) {
  if (tensor.dtype == DType::kBytes) return wrong_bytes(tensor);
  if (tensor.dtype != DType::kInt64 && tensor.dtype != DType::kInt32) {
    return wrong_input(tensor.name, "datatype INT64 or INT32", array_type_name(tensor));
  }
  if (tensor.shape.rank != 2) {
    return wrong_input(tensor.name, "shape [-1, -1]", shape_text(tensor.shape.view()));
  }
  return nullptr;
}

ProblemPtr check_same_shape(const TensorView& tensor, const TensorView& ids) {
  if (std::ranges::equal(tensor.shape.view(), ids.shape.view())) return nullptr;
  return wrong_input(tensor.name, "shape " + shape_text(ids.shape.view()),
                     shape_text(tensor.shape.view()));
}

// The ones of a row of a mask; -1 where it holds anything but ones and then zeros.
int64_t ones_of_row(const Matrix& mask, int64_t row) {
  return mask.visit_row(row, [&](auto type, size_t start) -> int64_t {
    using T = decltype(type);
    T seen = 0;
    T rises = 0;
    T before = 1;
    T ones = 0;
    for (size_t i = 0; i < static_cast<size_t>(mask.width()); ++i) {
      const T value = mask.load<T>(start + i);
      seen |= value;
      rises |= static_cast<T>(value & ~before);
      ones += value & 1;
      before = value;
    }
    return (seen & ~T{1}) == 0 && rises == 0 ? static_cast<int64_t>(ones) : -1;
  });
}

// Says what is wrong with a mask: first a value that is none, then a one after a zero.
ProblemPtr mask_problem(const Matrix& mask) {
  for (int64_t row = 0; row < mask.rows(); ++row) {
    for (int64_t column = 0; column < mask.width(); ++column) {
      const int64_t value = mask.at(row, column);
      if (value == 0 || value == 1) continue;
      return wrong_input(kMask, "0 or 1", std::to_string(value) + " at " + place_text(row, column));
    }
  }
  for (int64_t row = 0; row < mask.rows(); ++row) {
    for (int64_t column = 1; column < mask.width(); ++column) {
      if (mask.at(row, column) <= mask.at(row, column - 1)) continue;
      return wrong_input(kMask, "the ones of a row before its zeros (padding on the right)",
                         "a one after a zero at " + place_text(row, column));
    }
  }
  return nullptr;
}

ProblemPtr check_length(int64_t length, int64_t row, int64_t positions_max,
                        std::string_view tensor) {
  if (length >= 1 && length <= positions_max) return nullptr;
  if (length < 1) {
    return wrong_input(tensor, "at least one token in each row",
                       "none in row " + std::to_string(row));
  }
  return wrong_input(kIds, "at most " + std::to_string(positions_max) + " tokens in each row",
                     std::to_string(length) + " in row " + std::to_string(row));
}

// Fills bound.lengths. Rows without a token end it before memory is taken for them: the shape
// [2^40, 0] is a legal tensor of no bytes.
ProblemPtr bind_lengths(const Matrix& ids, const TensorView* mask_tensor, int64_t positions_max,
                        BoundRequest& bound) {
  const std::string_view blamed = mask_tensor == nullptr ? kIds : kMask;
  if (ids.rows() > 0 && (ids.width() < 1 || mask_tensor == nullptr)) {
    PELTON_RETURN_IF_PROBLEM(check_length(ids.width(), 0, positions_max, blamed));
  }
  bound.lengths.assign(static_cast<size_t>(ids.rows()), static_cast<int32_t>(ids.width()));
  if (mask_tensor == nullptr) return nullptr;
  const Matrix mask(*mask_tensor);
  for (int64_t row = 0; row < mask.rows(); ++row) {
    const int64_t ones = ones_of_row(mask, row);
    if (ones < 0) return mask_problem(mask);
    bound.lengths[static_cast<size_t>(row)] = static_cast<int32_t>(ones);
  }
  for (int64_t row = 0; row < mask.rows(); ++row) {
    PELTON_RETURN_IF_PROBLEM(
        check_length(bound.lengths[static_cast<size_t>(row)], row, positions_max, blamed));
  }
  return nullptr;
}

// Has its sign where one of `count` values is not in [0, limit).
template <typename T, typename Load>
uint64_t copy_ids(size_t count, int64_t limit, Load load, int32_t* out) {
  const auto last = static_cast<uint64_t>(limit - 1);
  uint64_t outside = 0;
  for (size_t i = 0; i < count; ++i) {
    const T value = load(i);
    const auto wide = static_cast<uint64_t>(static_cast<int64_t>(value));
    outside |= wide | (last - wide);
    out[i] = static_cast<int32_t>(value);
  }
  return outside;
}

bool is_sign(uint64_t bits) { return (bits >> 63) != 0; }

// Appends the entries of `padded` that are tokens to `out`, each in [0, limit). (Ids in the padding
// are never looked at: exporters leave -1 there.)
ProblemPtr take_tokens(const Matrix& padded, std::span<const int32_t> lengths, int64_t limit,
                       std::string_view tensor, std::vector<int32_t>& out) {
  size_t total = 0;
  for (const int32_t length : lengths) total += static_cast<size_t>(length);
  out.resize(total);
  int32_t* at = out.data();
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const auto count = static_cast<size_t>(lengths[i]);
    const uint64_t outside = padded.visit_row(row, [&](auto type, size_t start) {
      using T = decltype(type);
      return copy_ids<T>(count, limit, [&](size_t k) { return padded.load<T>(start + k); }, at);
    });
    at += count;
    if (!is_sign(outside)) continue;
    for (int64_t column = 0;; ++column) {
      const int64_t id = padded.at(row, column);
      if (id >= 0 && id < limit) continue;
      return wrong_input(tensor, "ids from 0 to " + std::to_string(limit - 1),
                         std::to_string(id) + " at " + place_text(row, column));
    }
  }
  return nullptr;
}

// What `input_ids` can come with.
ProblemPtr check_companions(std::span<const TensorView> tensors) {
  for (const TensorView& tensor : tensors) {
    if (tensor.name == kIds || tensor.name == kMask || tensor.name == kTypes) continue;
    return refused_input(tensor.name,
                         tensor.name == kText
                             ? "it cannot come with input_ids; those that can are attention_mask, "
                               "token_type_ids"
                             : "the model has no such input; its inputs are input_ids, "
                               "attention_mask, token_type_ids",
                         "input_ids, attention_mask, token_type_ids");
  }
  return nullptr;
}

ProblemPtr bind_padded(const EncoderContract& encoder, std::span<const TensorView> tensors,
                       const TensorView& ids, BoundRequest& bound) {
  PELTON_RETURN_IF_PROBLEM(check_companions(tensors));
  PELTON_RETURN_IF_PROBLEM(check_matrix(ids));
  const TensorView* const mask = find_tensor(tensors, kMask);
  if (mask != nullptr) {
    PELTON_RETURN_IF_PROBLEM(check_matrix(*mask));
    PELTON_RETURN_IF_PROBLEM(check_same_shape(*mask, ids));
  }
  const Matrix padded(ids);
  PELTON_RETURN_IF_PROBLEM(bind_lengths(padded, mask, encoder.positions_max, bound));
  PELTON_RETURN_IF_PROBLEM(
      take_tokens(padded, bound.lengths, encoder.vocabulary_size, kIds, bound.ids));
  const TensorView* const types = find_tensor(tensors, kTypes);
  if (types == nullptr) return nullptr;
  PELTON_RETURN_IF_PROBLEM(check_matrix(*types));
  PELTON_RETURN_IF_PROBLEM(check_same_shape(*types, ids));
  return take_tokens(Matrix(*types), bound.lengths, encoder.token_types, kTypes, bound.types);
}

}  // namespace

void pack_tokens(const EncoderContract& encoder, BoundRequest& bound) {
  bound.row_count = static_cast<int64_t>(bound.lengths.size());
  bound.token_count = static_cast<int64_t>(bound.ids.size());
  bound.inputs.assign(encoder.types_index < 0 ? 1 : 2, nullptr);
  bound.inputs[static_cast<size_t>(encoder.ids_index)] =
      reinterpret_cast<const std::byte*>(bound.ids.data());
  if (encoder.types_index < 0) return;
  bound.types.resize(bound.ids.size(), 0);
  bound.inputs[static_cast<size_t>(encoder.types_index)] =
      reinterpret_cast<const std::byte*>(bound.types.data());
}

ProblemPtr bind_id_rows(const EncoderContract& encoder, std::span<const int32_t> ids,
                        std::span<const int32_t> lengths, BoundRequest& bound) {
  for (size_t row = 0; row < lengths.size(); ++row) {
    PELTON_RETURN_IF_PROBLEM(
        check_length(lengths[row], static_cast<int64_t>(row), encoder.positions_max, kIds));
  }
  bound.lengths.assign(lengths.begin(), lengths.end());
  bound.ids.resize(ids.size());
  const auto load = [ids](size_t i) { return ids[i]; };
  const int64_t limit = encoder.vocabulary_size;
  if (is_sign(copy_ids<int32_t>(ids.size(), limit, load, bound.ids.data()))) {
    size_t at = 0;
    for (size_t row = 0; row < lengths.size(); ++row) {
      for (int32_t column = 0; column < lengths[row]; ++column, ++at) {
        if (ids[at] >= 0 && ids[at] < limit) continue;
        return wrong_input(
            kIds, "ids from 0 to " + std::to_string(limit - 1),
            std::to_string(ids[at]) + " at " + place_text(static_cast<int64_t>(row), column));
      }
    }
  }
  pack_tokens(encoder, bound);
  return nullptr;
}

ProblemPtr bind_encoder(const ModelContract& contract, const InferRequest& request,
                        BoundRequest& bound) {
  const EncoderContract& encoder = *contract.encoder;
  const TensorView* const text = find_tensor(request.inputs, kText);
  if (text != nullptr && find_spec(contract.inputs, kText) != nullptr) {
    PELTON_RETURN_IF_PROBLEM(check_names(request.inputs, contract.inputs));
    return bind_text_rows(encoder, text->elements, TextForm::kBytes, request.truncate, bound);
  }
  const TensorView* const ids = find_tensor(request.inputs, kIds);
  // Without ids the model's own inputs are missing, and this says so.
  if (ids == nullptr) return check_names(request.inputs, contract.inputs);
  PELTON_RETURN_IF_PROBLEM(bind_padded(encoder, request.inputs, *ids, bound));
  pack_tokens(encoder, bound);
  return nullptr;
}

}  // namespace pelton
