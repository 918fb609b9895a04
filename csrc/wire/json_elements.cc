#include "csrc/wire/json_elements.h"

#include <cmath>
#include <span>
#include <string_view>
#include <type_traits>

#include "csrc/wire/element_kinds.h"
#include "csrc/wire/half.h"
#include "csrc/wire/json_elements_refusal.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/swar.h"

namespace pelton {
namespace {

// Each sink takes the elements one after the other, as numbers of a text or as values, and says
// whether it could; the problem is found later, by refuse_json_elements().

template <typename T>
class IntegerSink {
 public:
  explicit IntegerSink(T* out) : out_(out) {}

  bool take_number(const char*& at, const char* end) {
    if (!is_digit(*at) && !(*at == '-' && is_digit(at[1]))) return false;
    WrittenInteger number;
    at = read_integer_text(at, end, number);
    if (at < end && (*at == '.' || *at == 'e' || *at == 'E')) return false;
    if (number.is_big) return false;
    constexpr auto kHigh = static_cast<uint64_t>(std::numeric_limits<T>::max());
    constexpr uint64_t kLow = std::is_signed_v<T> ? kHigh + 1 : 0;  // magnitude of the least
    if (number.magnitude > (number.is_negative ? kLow : kHigh)) return false;
    const uint64_t bits = number.is_negative ? uint64_t{0} - number.magnitude : number.magnitude;
    *out_++ = static_cast<T>(bits);
    return true;
  }
  bool take(const JsonValue& value) {
    if (value.kind() != JsonKind::kNumber) return false;
    const std::string_view text = value.number();
    const char* at = text.data();
    return take_number(at, at + text.size());
  }

 private:
  T* out_;
};

class BooleanSink {
 public:
  explicit BooleanSink(uint8_t* out) : out_(out) {}

  bool take_number(const char*& at, const char* end) {
    uint8_t value = 0;
    IntegerSink<uint8_t> sink(&value);
    if (!sink.take_number(at, end) || value > 1) return false;
    *out_++ = value;
    return true;
  }
  bool take(const JsonValue& value) {
    if (value.kind() == JsonKind::kNumber) {
      const std::string_view text = value.number();
      const char* at = text.data();
      return take_number(at, at + text.size());
    }
    if (value.kind() != JsonKind::kTrue && value.kind() != JsonKind::kFalse) return false;
    *out_++ = value.kind() == JsonKind::kTrue ? 1 : 0;
    return true;
  }

 private:
  uint8_t* out_;
};

// As NumPy rounds what Python parsed as float64.
template <DType dtype>
auto narrow_float(double value) {
  if constexpr (dtype == DType::kFp16) {
    return f64_to_f16(value);
  } else if constexpr (dtype == DType::kBf16) {
    return f32_to_bf16(static_cast<float>(value));
  } else if constexpr (dtype == DType::kFp32) {
    return static_cast<float>(value);
  } else {
    return value;
  }
}

template <DType dtype>
class FloatSink {
 public:
  using Stored = decltype(narrow_float<dtype>(0.0));
  FloatSink(Stored* out, bool has_infinity) : out_(out), has_infinity_(has_infinity) {}

  bool take_number(const char*& at, const char* end) {
    const char* const begin = at;
    double value;
    at = read_number(at, end, value);
    const Stored stored = narrow_float<dtype>(value);
    if (is_infinite_float(stored) && !is_literal_infinity(begin, value)) return false;
    *out_++ = stored;
    return true;
  }
  bool take(const JsonValue& value) {
    if (value.kind() != JsonKind::kNumber) return false;
    const std::string_view text = value.number();
    const char* at = text.data();
    return take_number(at, at + text.size());
  }

 private:
  static bool is_infinite_float(Stored stored) {
    if constexpr (std::is_floating_point_v<Stored>) {
      return std::isinf(stored);
    } else {
      return (stored & 0x7FFF) == (dtype == DType::kFp16 ? 0x7C00 : 0x7F80);
    }
  }
  bool is_literal_infinity(const char* begin, double value) const {
    return has_infinity_ && std::isinf(value) && !is_digit(begin[*begin == '-' ? 1 : 0]);
  }

  Stored* out_;
  bool has_infinity_;
};

class StringSink {
 public:
  explicit StringSink(std::string_view* out) : out_(out) {}
  bool take_number(const char*&, const char*) { return false; }
  bool take(const JsonValue& value) {
    if (value.kind() != JsonKind::kString) return false;
    *out_++ = value.string();
    return true;
  }

 private:
  std::string_view* out_;
};

// Whether `data` is nested exactly as the shape says; its elements are not looked at.
bool is_nested_as(const JsonValue& data, std::span<const int64_t> dims) {
  if (data.kind() != JsonKind::kArray || static_cast<int64_t>(data.size()) != dims[0]) return false;
  if (dims.size() == 1) return true;
  for (auto item = data.first_element(); item; item = item->next()) {
    if (!is_nested_as(*item, dims.subspan(1))) return false;
  }
  return true;
}

template <typename Sink>
bool take_list(const JsonValue& list, Sink& sink) {
  if (list.size() > 0 && list.holds_numbers_only()) {
    const std::string_view text = list.text();
    const char* const end = text.data() + text.size();
    const char* at = text.data() + 1;
    for (size_t left = list.size(); left > 0; --left) {
      at = skip_json_space(at, end);
      if (!sink.take_number(at, end)) return false;
      at = skip_json_space(at, end) + 1;
    }
    return true;
  }
  for (auto element = list.first_element(); element; element = element->next()) {
    if (!sink.take(*element)) return false;
  }
  return true;
}

// `depth`: levels of arrays; 0: `data` is the element.
template <typename Sink>
bool take_all(const JsonValue& data, int depth, Sink& sink) {
  if (depth == 0) return sink.take(data);
  if (depth == 1) return take_list(data, sink);
  for (auto item = data.first_element(); item; item = item->next()) {
    if (!take_all(*item, depth - 1, sink)) return false;
  }
  return true;
}

// The levels of arrays around the elements; negative where `data` does not hold `count` elements in
// the form that the shape says.
int find_depth(const JsonValue& data, int64_t count, const Shape& shape) {
  if (data.kind() != JsonKind::kArray) {
    return shape.rank == 0 && data.kind() != JsonKind::kObject ? 0 : -1;
  }
  const auto first = data.first_element();
  if (!first || first->kind() != JsonKind::kArray) {
    return static_cast<int64_t>(data.size()) == count ? 1 : -1;
  }
  return shape.rank > 0 && is_nested_as(data, shape.view()) ? shape.rank : -1;
}

template <typename Stored>
Stored* make_data(size_t count, Scratch& scratch, TensorView& tensor) {
  const std::span<Stored> stored = scratch.make<Stored>(count);
  tensor.data = std::as_bytes(stored);
  return stored.data();
}

bool read_all(const JsonDocument& document, const JsonValue& data, int depth, size_t count,
              Scratch& scratch, TensorView& tensor) {
  const auto read = [&](auto sink) { return take_all(data, depth, sink); };
  const auto read_floats = [&]<DType dtype>() {
    using Stored = typename FloatSink<dtype>::Stored;
    return read(
        FloatSink<dtype>(make_data<Stored>(count, scratch, tensor), document.has_infinity()));
  };
  switch (tensor.dtype) {
    case DType::kFp32:
      return read_floats.template operator()<DType::kFp32>();
    case DType::kFp64:
      return read_floats.template operator()<DType::kFp64>();
    case DType::kFp16:
      return read_floats.template operator()<DType::kFp16>();
    case DType::kBf16:
      return read_floats.template operator()<DType::kBf16>();
    case DType::kBool:
      return read(BooleanSink(make_data<uint8_t>(count, scratch, tensor)));
    case DType::kBytes: {
      const std::span<std::string_view> elements = scratch.make<std::string_view>(count);
      tensor.elements = elements;
      return read(StringSink(elements.data()));
    }
    default:
      break;
  }
  bool is_read = false;
  with_integer_type(tensor.dtype, [&]<typename T>(T) {
    is_read = read(IntegerSink<T>(make_data<T>(count, scratch, tensor)));
  });
  return is_read;
}

}  // namespace

ProblemPtr read_json_elements(const JsonDocument& document, const std::optional<JsonValue>& data,
                              int64_t count, const Where& where, Scratch& scratch,
                              TensorView& tensor) {
  tensor.data = {};
  tensor.elements = {};
  if (data) {
    const int depth = find_depth(*data, count, tensor.shape);
    const auto size = static_cast<size_t>(count);
    if (depth >= 0 && read_all(document, *data, depth, size, scratch, tensor)) return nullptr;
  } else if (count == 0) {
    return nullptr;
  }
  return refuse_json_elements(document, data, count, where, tensor);
}

}  // namespace pelton
