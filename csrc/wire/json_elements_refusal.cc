#include "csrc/wire/json_elements_refusal.h"

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "csrc/wire/element_kinds.h"
#include "csrc/wire/half.h"
#include "csrc/wire/json_elements.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/raw_tensor.h"

namespace pelton {
namespace {

constexpr std::string_view kLargestFloat64 =
    "1797693134862315708145274237317043567980705675258449965989174768031572607800285387605895586327"
    "6687817154045895351438246423432132688946418276846754670353751698604991057655128207624549009038"
    "9328944075868508455133942304583236903222948165808559332123348274797826204144723168738177180919"
    "299881250404026184124858368";

bool is_array(const JsonValue& value) { return value.kind() == JsonKind::kArray; }
bool is_number(const JsonValue& value) { return value.kind() == JsonKind::kNumber; }
bool is_integer(const JsonValue& value) { return is_number(value) && value.is_integer(); }

double float_of(const JsonValue& number) {
  const std::string_view text = number.number();
  double value = 0;
  read_number(text.data(), text.data() + text.size(), value);
  return value;
}

WrittenInteger integer_of(const JsonValue& integer) {
  const std::string_view text = integer.number();
  WrittenInteger value;
  read_integer_text(text.data(), text.data() + text.size(), value);
  return value;
}

// Elements in row-major order below `depth` levels of arrays, which are there.
class Elements {
 public:
  Elements(const JsonValue& data, int depth) : data_(data), depth_(depth) {}

  // The first element that `is_wrong`, with its index.
  struct Found {
    JsonValue value;
    int64_t index;
  };
  template <typename IsWrong>
  std::optional<Found> find(IsWrong is_wrong) const {
    int64_t index = 0;
    std::optional<Found> found;
    walk(data_, depth_, [&](const JsonValue& value) {
      if (is_wrong(value)) found = Found{value, index};
      ++index;
      return found.has_value();
    });
    return found;
  }
  int64_t count() const {
    int64_t total = 0;
    walk(data_, depth_, [&](const JsonValue&) { return ++total, false; });
    return total;
  }

 private:
  // Stops where `stop` is true.
  template <typename Stop>
  static bool walk(const JsonValue& value, int depth, Stop stop) {
    if (depth == 0) return stop(value);
    for (auto item = value.first_element(); item; item = item->next()) {
      if (walk(*item, depth - 1, stop)) return true;
    }
    return false;
  }

  JsonValue data_;
  int depth_;
};

std::string shape_text(const TensorView& tensor) {
  return " for shape " + shape_as_list(tensor.shape.view());
}

// The places of an item along the first axes, whose dimensions are not 0.
std::vector<int64_t> coordinates(int64_t index, std::span<const int64_t> dims) {
  std::vector<int64_t> places(dims.size());
  for (size_t axis = dims.size(); axis-- > 0; index /= dims[axis]) {
    places[axis] = index % dims[axis];
  }
  return places;
}

// Where the item that lies at these places is at fault.
ProblemPtr misnested(const Where& where, std::span<const int64_t> places, std::string_view expected,
                     const JsonValue& got) {
  if (places.empty()) return where.bad(expected, describe(got));
  const Where item = where.item(places[0]);
  return misnested(item, places.subspan(1), expected, got);
}

// The first array, level by level, that is not nested as the shape says. REQUIRES: `data` is an
// array.
ProblemPtr check_nesting(const JsonValue& data, const Where& where, const TensorView& tensor) {
  const std::span<const int64_t> dims = tensor.shape.view();
  for (size_t axis = 0; axis <= dims.size(); ++axis) {
    const bool is_leaf = axis == dims.size();
    const auto wrong = Elements(data, static_cast<int>(axis)).find([&](const JsonValue& item) {
      if (is_leaf) return is_array(item);
      return !is_array(item) || static_cast<int64_t>(item.size()) != dims[axis];
    });
    if (!wrong) continue;
    const std::string expected =
        is_leaf ? "an element" : "an array of " + std::to_string(dims[axis]);
    return misnested(where, coordinates(wrong->index, dims.first(axis)),
                     expected + shape_text(tensor), wrong->value);
  }
  return nullptr;
}

ProblemPtr refuse_element(const Elements::Found& found, const Where& where,
                          std::string_view expected) {
  return where.item(found.index).bad(expected, describe(found.value));
}

template <typename T>
ProblemPtr refuse_integers(const Elements& elements, const Where& where, DType dtype) {
  constexpr auto kHigh = static_cast<uint64_t>(std::numeric_limits<T>::max());
  constexpr uint64_t kLow = std::is_signed_v<T> ? kHigh + 1 : 0;
  const auto wrong = elements.find([&](const JsonValue& value) {
    if (!is_integer(value)) return true;
    const WrittenInteger integer = integer_of(value);
    return integer.is_big || integer.magnitude > (integer.is_negative ? kLow : kHigh);
  });
  if (!wrong) return nullptr;
  return refuse_element(*wrong, where,
                        "an integer from " + std::to_string(std::numeric_limits<T>::min()) +
                            " to " + std::to_string(std::numeric_limits<T>::max()) + " for " +
                            std::string(dtype_name(dtype)));
}

ProblemPtr refuse_booleans(const Elements& elements, const Where& where) {
  const auto wrong = elements.find([](const JsonValue& value) {
    if (value.kind() == JsonKind::kTrue || value.kind() == JsonKind::kFalse) return false;
    if (!is_integer(value)) return true;
    const WrittenInteger integer = integer_of(value);
    return integer.is_big || integer.is_negative || integer.magnitude > 1;
  });
  return wrong ? refuse_element(*wrong, where, "true, false, 0 or 1") : nullptr;
}

bool is_over_largest(const JsonValue& number) {
  if (!number.is_integer()) return std::isinf(float_of(number));
  std::string_view digits = number.number();
  if (digits.starts_with('-')) digits.remove_prefix(1);
  if (digits.size() != kLargestFloat64.size()) return digits.size() > kLargestFloat64.size();
  return digits > kLargestFloat64;
}

bool is_infinite_as(double value, DType dtype) {
  switch (dtype) {
    case DType::kFp16:
      return (f64_to_f16(value) & 0x7FFF) == 0x7C00;
    case DType::kBf16:
      return (f32_to_bf16(static_cast<float>(value)) & 0x7FFF) == 0x7F80;
    case DType::kFp32:
      return std::isinf(static_cast<float>(value));
    default:
      return std::isinf(value);
  }
}

ProblemPtr refuse_floats(const JsonDocument& document, const Elements& elements, const Where& where,
                         DType dtype) {
  if (const auto wrong = elements.find([](const JsonValue& value) { return !is_number(value); })) {
    return refuse_element(*wrong, where, "a number for " + std::string(dtype_name(dtype)));
  }
  const std::string expected = "a number that fits " + std::string(float_name(dtype));
  // Python converts integers by themselves, and all of them first.
  const auto is_overflow = [](const JsonValue& value) {
    return value.is_integer() && std::isinf(float_of(value));
  };
  if (elements.find(is_overflow)) {
    return refuse_element(*elements.find(is_over_largest), where, expected);
  }
  const auto wrong = elements.find([&](const JsonValue& value) {
    const double number = float_of(value);
    return is_infinite_as(number, dtype) && !(document.has_infinity() && std::isinf(number));
  });
  if (!wrong) return nullptr;
  const double number = float_of(wrong->value);
  return where.item(wrong->index)
      .bad(expected, std::isinf(number) ? "a number too large for 64-bit" : describe_float(number));
}

ProblemPtr refuse_strings(const Elements& elements, const Where& where) {
  const auto wrong =
      elements.find([](const JsonValue& value) { return value.kind() != JsonKind::kString; });
  return wrong ? refuse_element(*wrong, where, "a string for BYTES") : nullptr;
}

ProblemPtr refuse_kinds(const JsonDocument& document, const Elements& elements, const Where& where,
                        DType dtype) {
  if (is_float_dtype(dtype)) return refuse_floats(document, elements, where, dtype);
  if (dtype == DType::kBool) return refuse_booleans(elements, where);
  ProblemPtr problem;
  const auto refuse = [&]<typename T>(T) { problem = refuse_integers<T>(elements, where, dtype); };
  if (with_integer_type(dtype, refuse)) return problem;
  return refuse_strings(elements, where);
}

}  // namespace

std::string describe(const std::optional<JsonValue>& value) {
  if (!value) return "null or nothing";
  switch (value->kind()) {
    case JsonKind::kNull:
      return "null or nothing";
    case JsonKind::kFalse:
      return "false";
    case JsonKind::kTrue:
      return "true";
    case JsonKind::kNumber:
      return value->is_integer() ? describe_integer(value->number())
                                 : describe_float(float_of(*value));
    case JsonKind::kString:
      return describe_string(value->string());
    case JsonKind::kArray:
      return "an array of " + std::to_string(value->size());
    case JsonKind::kObject:
      break;
  }
  return "an object";
}

ProblemPtr refuse_json_elements(const JsonDocument& document, const std::optional<JsonValue>& data,
                                int64_t count, const Where& where, const TensorView& tensor) {
  const std::string expected = std::to_string(count) + " elements" + shape_text(tensor);
  if (!data) return where.bad(expected, "no data");
  int depth = 1;
  if (!is_array(*data)) {
    if (tensor.shape.rank > 0 || data->kind() == JsonKind::kObject) {
      return where.bad("an array", describe(data));
    }
    depth = 0;
  } else if (const auto first = data->first_element(); first && is_array(*first)) {
    PELTON_RETURN_IF_PROBLEM(check_nesting(*data, where, tensor));
    depth = tensor.shape.rank;
  }
  const Elements elements(*data, depth);
  const int64_t found = elements.count();
  if (found != count) return where.bad(expected, std::to_string(found));
  if (ProblemPtr problem = refuse_kinds(document, elements, where, tensor.dtype)) return problem;
  // The reader and this agree; a difference must still not become a tensor half read.
  return where.refused("the data cannot be read");
}

}  // namespace pelton
