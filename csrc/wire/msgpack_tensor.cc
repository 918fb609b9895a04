#include "csrc/wire/msgpack_tensor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "csrc/wire/msgpack_elements.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/raw_tensor.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

constexpr int kBlobVersion = 1;
constexpr size_t kBlobHeadBytes = 4;
// Words of msgpack-numpy that come as bin are not longer.
constexpr uint32_t kWordBytesMax = 16;

constexpr std::array<DType, 14> kDTypes = {
    DType::kBool, DType::kUint8, DType::kUint16, DType::kUint32, DType::kUint64,
    DType::kInt8, DType::kInt16, DType::kInt32,  DType::kInt64,  DType::kFp16,
    DType::kBf16, DType::kFp32,  DType::kFp64,   DType::kBytes,
};

// The types of NumPy arrays by their `dtype.str`.
struct NumpyType {
  std::string_view code;
  DType dtype;
};
constexpr std::array<NumpyType, 12> kNumpyTypes = {{
    {"|b1", DType::kBool},
    {"|u1", DType::kUint8},
    {"<u2", DType::kUint16},
    {"<u4", DType::kUint32},
    {"<u8", DType::kUint64},
    {"|i1", DType::kInt8},
    {"<i2", DType::kInt16},
    {"<i4", DType::kInt32},
    {"<i8", DType::kInt64},
    {"<f2", DType::kFp16},
    {"<f4", DType::kFp32},
    {"<f8", DType::kFp64},
}};

std::span<const std::byte> bytes_of(const MsgValue& blob) {
  return std::as_bytes(std::span(blob.content, blob.size));
}

bool is_blob(const MsgValue& value) {
  return value.type == MsgType::kBin || value.type == MsgType::kExt;
}

ProblemPtr read_datatype(const MsgValue& value, const Where& where, DType& dtype) {
  if (value.type == MsgType::kStr) {
    const auto found = std::find_if(kDTypes.begin(), kDTypes.end(), [&value](DType candidate) {
      return dtype_name(candidate) == value.text();
    });
    if (found != kDTypes.end()) {
      dtype = *found;
      return nullptr;
    }
  }
  std::string names;
  for (const DType candidate : kDTypes) {
    if (!names.empty()) names += ", ";
    names += dtype_name(candidate);
  }
  return where.bad("one of " + names, describe(value));
}

ProblemPtr read_shape(const MsgSource& source, const MsgValue& value, const Where& where,
                      Shape& shape, int64_t& count) {
  PELTON_RETURN_IF_PROBLEM(
      expect_msg_array(value, where, std::min(source.limits.rank_max, kRankMax)));
  std::array<uint64_t, kRankMax> dims;
  MsgReader reader(source.body, value.start);
  for (uint32_t i = 0; i < value.size; ++i) {
    const MsgValue dim = reader.next();
    if (dim.type != MsgType::kUnsigned) {
      return where.item(i).bad("an integer of 0 or more", describe(dim, true));
    }
    dims[i] = dim.bits;
  }
  return make_shape(std::span(dims).first(value.size), where, source.limits, shape, count);
}

// Whether a value says the same as a dimension, as Python compares them: 2.0 is 2, and true is 1.
bool equals_dim(const MsgValue& value, int64_t dim) {
  switch (value.type) {
    case MsgType::kFalse:
      return dim == 0;
    case MsgType::kTrue:
      return dim == 1;
    case MsgType::kUnsigned:
      return std::cmp_equal(value.bits, dim);
    case MsgType::kFloat: {
      const double real = value.real();
      return real >= 0 && real < 0x1p63 && std::floor(real) == real &&
             static_cast<int64_t>(real) == dim;
    }
    default:
      return false;
  }
}

bool equals_shape(std::span<const std::byte> body, const MsgValue& value, const Shape& shape) {
  if (value.type != MsgType::kArray || std::cmp_not_equal(value.size, shape.rank)) return false;
  MsgReader reader(body, value.start);
  for (const int64_t dim : shape.view()) {
    // What is not equal ends it, so that nothing nested is read on.
    if (!equals_dim(reader.next(), dim)) return false;
  }
  return true;
}

// A tensor whose `data` says its own datatype and shape; they may be repeated beside it.
ProblemPtr read_wrapped(const MsgSource& source, const MsgTensorMembers& members,
                        std::string_view name, const Where& where, TensorView& tensor) {
  PELTON_RETURN_IF_PROBLEM(read_msg_tensor(source, members.data, name, where.at("data"), tensor));
  const std::string_view datatype = dtype_name(tensor.dtype);
  const MsgValue& repeated = members.datatype;
  if (members.has_datatype && (repeated.type != MsgType::kStr || repeated.text() != datatype)) {
    return where.at("datatype").bad(std::string(datatype) + " as in data", describe(repeated));
  }
  if (members.has_shape && !equals_shape(source.body, members.shape, tensor.shape)) {
    return where.at("shape").bad(shape_as_list(tensor.shape.view()) + " as in data",
                                 describe(members.shape));
  }
  return nullptr;
}

std::string hex_text(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[std::to_integer<int>(byte >> 4)];
    text += "0123456789abcdef"[std::to_integer<int>(byte & std::byte{15})];
  }
  return text;
}

// A tensor in one extension: u8 version, u8 datatype, u8 rank, u8 0, rank u32 dimensions, zeros up
// to a multiple of 8, data.
ProblemPtr read_blob(const MsgSource& source, const MsgValue& blob, const Where& where,
                     TensorView& tensor) {
  const std::span<const std::byte> raw = bytes_of(blob);
  const auto offset = static_cast<int64_t>(blob.start);
  const std::string size = std::to_string(raw.size()) + " bytes";
  if (blob.type == MsgType::kBin) {
    return where.bad("a map or an extension", describe(blob), offset);
  }
  if (raw.size() < kBlobHeadBytes) return where.bad("a head of 4 bytes", size, offset);
  const auto octet = [raw](size_t index) { return std::to_integer<uint8_t>(raw[index]); };
  if (octet(0) != kBlobVersion || octet(3) != 0) {
    return where.bad("version 1 and 0",
                     std::to_string(octet(0)) + " and " + std::to_string(octet(3)), offset);
  }
  const std::optional<DType> dtype = dtype_from_number(octet(1));
  if (!dtype) {
    return where.bad("a datatype from 1 to " + std::to_string(kDTypes.size()),
                     std::to_string(octet(1)), offset + 1);
  }
  const size_t rank = octet(2);
  if (std::cmp_greater(rank, std::min(source.limits.rank_max, kRankMax))) {
    return where.bad("at most " + std::to_string(source.limits.rank_max) + " dimensions",
                     std::to_string(rank), offset + 2);
  }
  const size_t head = kBlobHeadBytes + 4 * rank;
  const size_t start = (head + 7) / 8 * 8;
  if (raw.size() < start) {
    return where.bad("a head of " + std::to_string(start) + " bytes", size, offset);
  }
  const std::span<const std::byte> padding = raw.subspan(head, start - head);
  if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{0}; })) {
    return where.bad("zeros as padding", hex_text(padding), offset + static_cast<int64_t>(head));
  }
  std::array<uint64_t, kRankMax> dims;
  for (size_t i = 0; i < rank; ++i) {
    uint32_t dim;
    std::memcpy(&dim, raw.data() + kBlobHeadBytes + 4 * i, sizeof dim);
    dims[i] = dim;
  }
  int64_t count = 0;
  PELTON_RETURN_IF_PROBLEM(
      make_shape(std::span(dims).first(rank), where, source.limits, tensor.shape, count));
  tensor.dtype = *dtype;
  return view_raw(raw.subspan(start), count, where, offset + static_cast<int64_t>(start),
                  source.scratch, tensor);
}

// A word of msgpack-numpy, which comes as str or bin by its version; a bin is latin-1. nullopt
// where the value is neither.
std::optional<std::string_view> word_of(const MsgValue& value) {
  const bool is_word =
      value.type == MsgType::kStr || (value.type == MsgType::kBin && value.size <= kWordBytesMax);
  return is_word ? std::optional(value.text()) : std::nullopt;
}

std::string describe_word(const MsgValue& value) {
  if (value.type != MsgType::kBin || value.size > kWordBytesMax) return describe(value);
  return describe_string(latin1_to_utf8(value.text()));
}

// Whether Python takes the value for true.
bool is_truthy(const MsgValue& value) {
  switch (value.type) {
    case MsgType::kNil:
    case MsgType::kFalse:
      return false;
    case MsgType::kUnsigned:
      return value.bits != 0;
    case MsgType::kFloat:
      return value.real() != 0;
    case MsgType::kStr:
    case MsgType::kArray:
    case MsgType::kMap:
      return value.size > 0;
    case MsgType::kBin:
      return value.size > 0;
    case MsgType::kTrue:
    case MsgType::kNegative:
    case MsgType::kExt:
      return true;
  }
  return true;
}

// REQUIRES: bytes.size() is a multiple of the width.
std::span<const std::byte> swap_bytes(std::span<const std::byte> bytes, size_t width,
                                      Scratch& scratch) {
  const std::span<std::byte> swapped = scratch.make<std::byte>(bytes.size());
  for (size_t i = 0; i < bytes.size(); i += width) {
    std::reverse_copy(bytes.begin() + static_cast<ptrdiff_t>(i),
                      bytes.begin() + static_cast<ptrdiff_t>(i + width),
                      swapped.begin() + static_cast<ptrdiff_t>(i));
  }
  return swapped;
}

ProblemPtr read_numpy_type(const MsgValue& value, const Where& where, DType& dtype,
                           bool& is_swapped) {
  if (const std::optional<std::string_view> word = word_of(value)) {
    is_swapped = word->starts_with('>');
    for (const NumpyType& row : kNumpyTypes) {
      const bool is_row = is_swapped
                              ? row.code.front() == '<' && row.code.substr(1) == word->substr(1)
                              : row.code == *word;
      if (!is_row) continue;
      dtype = row.dtype;
      return nullptr;
    }
  }
  std::string codes;
  for (const NumpyType& row : kNumpyTypes) {
    if (!codes.empty()) codes += ' ';
    codes += row.code;
  }
  return where.bad("one of " + codes, describe_word(value));
}

// A dict of lebedov/msgpack-numpy: an array (`nd` true) or a scalar.
ProblemPtr read_numpy(const MsgSource& source, const MsgTensorMembers& members, const Where& where,
                      TensorView& tensor) {
  if (!members.nd.is_bool()) return where.at("nd").bad("true or false", describe(members.nd));
  if (word_of(members.kind) == "O") {
    return where.at("kind").refused("pickled arrays are never read; send numbers or strings");
  }
  if (is_truthy(members.kind)) {
    return where.at("kind").refused("arrays of kind " + describe_word(members.kind) +
                                    " are not supported");
  }
  bool is_swapped = false;
  PELTON_RETURN_IF_PROBLEM(
      read_numpy_type(members.type, where.at("type"), tensor.dtype, is_swapped));
  int64_t count = 1;
  tensor.shape.rank = 0;
  if (members.nd.type == MsgType::kTrue) {
    PELTON_RETURN_IF_PROBLEM(
        read_shape(source, members.shape, where.at("shape"), tensor.shape, count));
  }
  const Where place = where.at("data");
  if (members.data.type != MsgType::kBin) return place.bad("bin", describe(members.data));
  PELTON_RETURN_IF_PROBLEM(view_raw(bytes_of(members.data), count, place,
                                    static_cast<int64_t>(members.data.start), source.scratch,
                                    tensor));
  if (is_swapped) tensor.data = swap_bytes(tensor.data, dtype_bytes(tensor.dtype), source.scratch);
  return nullptr;
}

}  // namespace

ProblemPtr expect_msg_map(const MsgValue& value, const Where& where, bool is_item) {
  return value.type == MsgType::kMap ? nullptr : where.bad("an object", describe(value, is_item));
}

ProblemPtr expect_msg_array(const MsgValue& value, const Where& where, int64_t items_max) {
  if (value.type != MsgType::kArray) return where.bad("an array", describe(value));
  if (value.size <= items_max) return nullptr;
  return where.bad("at most " + std::to_string(items_max) + " items", std::to_string(value.size));
}

ProblemPtr read_msg_text(const MsgValue& value, const Where& where, int64_t bytes_max,
                         std::string_view& text) {
  if (value.type != MsgType::kStr) return where.bad("a string", describe(value));
  if (value.size > bytes_max) {
    return where.bad("a string of at most " + std::to_string(bytes_max) + " bytes",
                     std::to_string(value.size) + " bytes");
  }
  text = value.text();
  return nullptr;
}

ProblemPtr read_msg_name(const MsgValue& value, const Where& where, const DecodeLimits& limits,
                         std::string_view& name) {
  PELTON_RETURN_IF_PROBLEM(read_msg_text(value, where, limits.name_bytes_max, name));
  return name.empty() ? where.bad("a name", "an empty string") : nullptr;
}

MsgTensorMembers read_msg_members(std::span<const std::byte> body, const MsgValue& map) {
  MsgTensorMembers members;
  members.end =
      for_each_member(body, map, [&members](std::string_view name, const MsgValue& value) {
        if (name == "name") {
          members.name = value;
        } else if (name == "data") {
          members.data = value;
        } else if (name == "shape") {
          members.shape = value;
          members.has_shape = true;
        } else if (name == "datatype") {
          members.datatype = value;
          members.has_datatype = true;
        } else if (name == "nd") {
          members.nd = value;
          members.has_nd = true;
        } else if (name == "kind") {
          members.kind = value;
        } else if (name == "type") {
          members.type = value;
        } else if (name == "complex") {
          members.has_complex = true;
        }
      });
  return members;
}

ProblemPtr read_msg_tensor(const MsgSource& source, const MsgTensorMembers& members,
                           std::string_view name, const Where& where, TensorView& tensor) {
  tensor.name = name;
  if (members.has_complex) return where.refused("complex numbers are not supported");
  if (members.has_nd) return read_numpy(source, members, where, tensor);
  const MsgValue& data = members.data;
  // Recursion of at most the depth that the scan lets pass.
  if (data.type == MsgType::kMap || data.type == MsgType::kExt) {
    return read_wrapped(source, members, name, where, tensor);
  }
  PELTON_RETURN_IF_PROBLEM(read_datatype(members.datatype, where.at("datatype"), tensor.dtype));
  int64_t count = 0;
  PELTON_RETURN_IF_PROBLEM(
      read_shape(source, members.shape, where.at("shape"), tensor.shape, count));
  const Where place = where.at("data");
  if (data.type == MsgType::kBin) {
    return view_raw(bytes_of(data), count, place, static_cast<int64_t>(data.start), source.scratch,
                    tensor);
  }
  return read_msg_elements(source.body, data, count, place, source.scratch, tensor);
}

ProblemPtr read_msg_tensor(const MsgSource& source, const MsgValue& value, std::string_view name,
                           const Where& where, TensorView& tensor) {
  tensor.name = name;
  if (is_blob(value)) return read_blob(source, value, where, tensor);
  PELTON_RETURN_IF_PROBLEM(expect_msg_map(value, where));
  return read_msg_tensor(source, read_msg_members(source.body, value), name, where, tensor);
}

}  // namespace pelton
