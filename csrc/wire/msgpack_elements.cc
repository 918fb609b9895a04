#include "csrc/wire/msgpack_elements.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "csrc/wire/element_kinds.h"
#include "csrc/wire/half.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/raw_tensor.h"

namespace pelton {
namespace {

// repr() of bytes, cut like every text that is shown.
std::string describe_bytes(std::string_view bytes) {
  const bool has_single = bytes.find('\'') != std::string_view::npos;
  const char quote = has_single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  constexpr size_t kMoreThanShown = 64;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "b";
  text += quote;
  for (const char c : bytes.substr(0, kMoreThanShown)) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == quote || c == '\\') {
      text += '\\';
      text += c;
    } else if (c == '\t' || c == '\n' || c == '\r') {
      text += c == '\t' ? "\\t" : c == '\n' ? "\\n" : "\\r";
    } else if (byte < 0x20 || byte >= 0x7F) {
      text += "\\x";
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    } else {
      text += c;
    }
  }
  return shorten(text += quote);
}

// The values at one depth of nested arrays, in order: depth 1 is the items of `root`.
class Level {
 public:
  // REQUIRES: what lies between `root`, an array, and that depth is arrays.
  Level(std::span<const std::byte> body, const MsgValue& root, int depth)
      : body_(body), reader_(body, root.start), depth_(depth) {
    left_[1] = root.size;
  }
  // One value for itself.
  Level(std::span<const std::byte> body, const MsgValue& value)
      : body_(body), reader_(body, 0), single_(value) {}

  // False behind the last one, and then not to be called again.
  bool next(MsgValue& value) {
    if (depth_ == 0) {
      value = single_;
      return std::exchange(has_single_, false);
    }
    while (true) {
      uint32_t& left = left_[static_cast<size_t>(at_)];
      if (left == 0) {
        if (--at_ == 0) return false;
        continue;
      }
      --left;
      const size_t position = reader_.position();
      value = reader_.next();
      if (at_ < depth_) {
        left_[static_cast<size_t>(++at_)] = value.size;
        continue;
      }
      if (value.type == MsgType::kArray || value.type == MsgType::kMap) {
        reader_ = MsgReader(body_, position);
        reader_.skip();
      }
      return true;
    }
  }

 private:
  std::span<const std::byte> body_;
  MsgReader reader_;
  int depth_ = 0;
  int at_ = 1;
  std::array<uint32_t, kRankMax + 1> left_{};
  MsgValue single_;
  bool has_single_ = true;
};

// What reads one tensor's elements.
struct Target {
  const Where& where;
  Scratch& scratch;
  TensorView& tensor;
  size_t count;

  template <typename T>
  std::span<T> make() {
    const std::span<T> values = scratch.make<T>(count);
    tensor.data = std::as_bytes(values);
    return values;
  }
  ProblemPtr refuse(size_t index, const std::string& expected, const MsgValue& value) const {
    return where.item(static_cast<int64_t>(index)).bad(expected, describe(value, true));
  }
};

ProblemPtr read_booleans(Level& level, Target& target) {
  const std::span<uint8_t> out = target.make<uint8_t>();
  MsgValue value;
  for (size_t i = 0; level.next(value); ++i) {
    const bool is_bit = value.type == MsgType::kUnsigned && value.bits <= 1;
    if (!is_bit && !value.is_bool()) return target.refuse(i, "true, false, 0 or 1", value);
    out[i] = value.type == MsgType::kTrue || (is_bit && value.bits == 1);
  }
  return nullptr;
}

template <typename T>
ProblemPtr read_integers(Level& level, Target& target) {
  using Range = std::numeric_limits<T>;
  const std::span<T> out = target.make<T>();
  MsgValue value;
  for (size_t i = 0; level.next(value); ++i) {
    const bool fits = value.type == MsgType::kUnsigned
                          ? std::cmp_less_equal(value.bits, Range::max())
                          : value.type == MsgType::kNegative &&
                                std::cmp_greater_equal(value.negative(), Range::min());
    if (!fits) {
      return target.refuse(i,
                           "an integer from " + std::to_string(Range::min()) + " to " +
                               std::to_string(Range::max()) + " for " +
                               std::string(dtype_name(target.tensor.dtype)),
                           value);
    }
    out[i] = static_cast<T>(value.bits);
  }
  return nullptr;
}

struct Fp16 {
  using Storage = uint16_t;
  static Storage round(double wide) { return f64_to_f16(wide); }
  static bool is_infinite(Storage bits) { return (bits & 0x7FFF) == 0x7C00; }
};
struct Bf16 {
  using Storage = uint16_t;
  static Storage round(double wide) { return f32_to_bf16(static_cast<float>(wide)); }
  static bool is_infinite(Storage bits) { return (bits & 0x7FFF) == 0x7F80; }
};
struct Fp32 {
  using Storage = float;
  static Storage round(double wide) { return static_cast<float>(wide); }
  static bool is_infinite(Storage value) { return std::isinf(value); }
};
struct Fp64 {
  using Storage = double;
  static Storage round(double wide) { return wide; }
  static bool is_infinite(Storage value) { return std::isinf(value); }
};

template <typename Format>
ProblemPtr read_floats(Level& level, Target& target) {
  const auto out = target.make<typename Format::Storage>();
  // Told after all have been seen to be numbers.
  std::optional<size_t> overflowed;
  double overflow = 0;
  MsgValue value;
  for (size_t i = 0; level.next(value); ++i) {
    if (!value.is_number()) {
      return target.refuse(i, "a number for " + std::string(dtype_name(target.tensor.dtype)),
                           value);
    }
    const double wide = value.type == MsgType::kFloat      ? value.real()
                        : value.type == MsgType::kUnsigned ? static_cast<double>(value.bits)
                                                           : static_cast<double>(value.negative());
    out[i] = Format::round(wide);
    if (Format::is_infinite(out[i]) && std::isfinite(wide) && !overflowed) {
      overflowed = i;
      overflow = wide;
    }
  }
  if (!overflowed) return nullptr;
  return target.where.item(static_cast<int64_t>(*overflowed))
      .bad("a number that fits " + std::string(float_name(target.tensor.dtype)),
           describe_float(overflow));
}

ProblemPtr read_strings(Level& level, Target& target) {
  const std::span<std::string_view> out = target.scratch.make<std::string_view>(target.count);
  MsgValue value;
  for (size_t i = 0; level.next(value); ++i) {
    if (value.type != MsgType::kStr && value.type != MsgType::kBin) {
      return target.refuse(i, "bin or str for BYTES", value);
    }
    out[i] = value.text();
  }
  target.tensor.elements = out;
  return nullptr;
}

ProblemPtr read_all(Level level, Target target) {
  ProblemPtr problem;
  const bool is_integer = with_integer_type(
      target.tensor.dtype, [&]<typename T>(T) { problem = read_integers<T>(level, target); });
  if (is_integer) return problem;
  switch (target.tensor.dtype) {
    case DType::kBool:
      return read_booleans(level, target);
    case DType::kFp16:
      return read_floats<Fp16>(level, target);
    case DType::kBf16:
      return read_floats<Bf16>(level, target);
    case DType::kFp32:
      return read_floats<Fp32>(level, target);
    case DType::kFp64:
      return read_floats<Fp64>(level, target);
    default:
      return read_strings(level, target);
  }
}

// The problem of value number `index` among those at depth `axis`, which is not what the shape
// says.
ProblemPtr misnested(const MsgValue& value, const Shape& shape, int axis, int64_t index,
                     const Where& where) {
  std::array<int64_t, kRankMax> coordinates{};
  for (int i = axis - 1; i >= 0; --i) {
    const int64_t dim = shape.dims[static_cast<size_t>(i)];
    coordinates[static_cast<size_t>(i)] = index % dim;
    index /= dim;
  }
  // Each place points to the one before it.
  std::array<Where, kRankMax + 1> places;
  places[0] = where;
  for (size_t i = 0; i < static_cast<size_t>(axis); ++i) {
    places[i + 1] = places[i].item(coordinates[i]);
  }
  const std::string expected =
      axis == shape.rank ? "an element"
                         : "an array of " + std::to_string(shape.dims[static_cast<size_t>(axis)]);
  return places[static_cast<size_t>(axis)].bad(
      expected + " for shape " + shape_as_list(shape.view()), describe(value, true));
}

// Checks that `data`, whose first item is an array, is nested as the shape says, level by level.
ProblemPtr check_nesting(std::span<const std::byte> body, const MsgValue& data, const Shape& shape,
                         const Where& where) {
  for (int axis = 0; axis <= shape.rank; ++axis) {
    Level level = axis == 0 ? Level(body, data) : Level(body, data, axis);
    MsgValue value;
    for (int64_t index = 0; level.next(value); ++index) {
      const bool is_array = value.type == MsgType::kArray;
      const bool fits =
          axis == shape.rank
              ? !is_array
              : is_array && std::cmp_equal(value.size, shape.dims[static_cast<size_t>(axis)]);
      if (!fits) return misnested(value, shape, axis, index, where);
    }
  }
  return nullptr;
}

bool begins_with_array(std::span<const std::byte> body, const MsgValue& array) {
  return array.size > 0 && MsgReader(body, array.start).next().type == MsgType::kArray;
}

}  // namespace

std::string describe(const MsgValue& value, bool is_item) {
  switch (value.type) {
    case MsgType::kNil:
      return "null or nothing";
    case MsgType::kFalse:
      return "false";
    case MsgType::kTrue:
      return "true";
    case MsgType::kNegative:
      return "the number " + std::to_string(value.negative());
    case MsgType::kUnsigned:
      return "the number " + std::to_string(value.bits);
    case MsgType::kFloat:
      return describe_float(value.real());
    case MsgType::kStr:
      return describe_string(value.text());
    case MsgType::kBin:
      return is_item ? describe_bytes(value.text()) : std::to_string(value.size) + " bytes";
    case MsgType::kExt:
      return std::to_string(value.size) + " bytes of extension type 0x54";
    case MsgType::kArray:
      return "an array of " + std::to_string(value.size);
    case MsgType::kMap:
      return "an object";
  }
  return {};
}

ProblemPtr read_msg_elements(std::span<const std::byte> body, const MsgValue& data, int64_t count,
                             const Where& where, Scratch& scratch, TensorView& tensor) {
  tensor.data = {};
  tensor.elements = {};
  const auto expected = [&] {
    return std::to_string(count) + " elements for shape " + shape_as_list(tensor.shape.view());
  };
  const Target target{where, scratch, tensor, static_cast<size_t>(count)};
  if (data.type == MsgType::kNil) return count == 0 ? nullptr : where.bad(expected(), "no data");
  if (data.type != MsgType::kArray) {
    if (tensor.shape.rank > 0 || data.type == MsgType::kMap) {
      return where.bad("an array", describe(data));
    }
    return read_all(Level(body, data), target);
  }
  if (begins_with_array(body, data)) {
    PELTON_RETURN_IF_PROBLEM(check_nesting(body, data, tensor.shape, where));
    return read_all(Level(body, data, tensor.shape.rank), target);
  }
  if (std::cmp_not_equal(data.size, count)) return where.bad(expected(), std::to_string(data.size));
  return read_all(Level(body, data, 1), target);
}

}  // namespace pelton
