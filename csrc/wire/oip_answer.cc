#include "csrc/wire/oip_answer.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "csrc/wire/element_kinds.h"
#include "csrc/wire/half.h"
#include "csrc/wire/json_text.h"
#include "csrc/wire/media_types.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

constexpr size_t kLengthBytes = 4;  // before each element of BYTES

// Gathers short pieces, so that `out` grows in few steps.
class PieceWriter {
 public:
  explicit PieceWriter(std::string& out) : out_(out) {}
  ~PieceWriter() { out_.append(pieces_, at_); }
  PieceWriter(const PieceWriter&) = delete;
  PieceWriter& operator=(const PieceWriter&) = delete;

  // Where a number may be written and a comma put before it.
  char* room() {
    if (at_ + kNumberBytesMax + 1 > pieces_ + sizeof(pieces_)) {
      out_.append(pieces_, at_);
      at_ = pieces_;
    }
    return at_;
  }
  void set_end(char* end) { at_ = end; }

 private:
  std::string& out_;
  char pieces_[2048];
  char* at_ = pieces_;
};

template <typename Stored>
Stored load(std::span<const std::byte> data, size_t index) {
  Stored value;
  std::memcpy(&value, data.data() + index * sizeof(Stored), sizeof(Stored));
  return value;
}

// `write(value, out)` writes one element and returns its end.
template <typename Stored, typename Write>
void append_elements(std::span<const std::byte> data, Write write, std::string& out) {
  PieceWriter writer(out);
  const size_t count = data.size() / sizeof(Stored);
  for (size_t index = 0; index < count; ++index) {
    char* at = writer.room();
    if (index > 0) *at++ = ',';
    writer.set_end(write(load<Stored>(data, index), at));
  }
}

char* write_word(std::string_view word, char* out) {
  std::memcpy(out, word.data(), word.size());
  return out + word.size();
}

// `widen(value)` is as finite as the value.
template <typename Stored, typename Widen>
void append_floats(std::span<const std::byte> data, bool non_finite_null,
                   char* (*write)(Stored, char*), Widen widen, std::string& out) {
  append_elements<Stored>(
      data,
      [=](Stored value, char* at) {
        if (non_finite_null && !std::isfinite(widen(value))) return write_word("null", at);
        return write(value, at);
      },
      out);
}

void append_numbers(const TensorView& tensor, bool non_finite_null, std::string& out) {
  const auto itself = [](auto value) { return value; };
  const bool null = non_finite_null;
  switch (tensor.dtype) {
    case DType::kFp32:
      return append_floats<float>(tensor.data, null, write_f32, itself, out);
    case DType::kFp64:
      return append_floats<double>(tensor.data, null, write_f64, itself, out);
    case DType::kFp16:
      return append_floats<uint16_t>(tensor.data, null, write_f16, f16_to_f64, out);
    case DType::kBf16:
      return append_floats<uint16_t>(tensor.data, null, write_bf16, bf16_to_f32, out);
    case DType::kBool:
      return append_elements<uint8_t>(
          tensor.data,
          [](uint8_t value, char* at) { return write_word(value != 0 ? "true" : "false", at); },
          out);
    default:
      break;
  }
  with_integer_type(tensor.dtype, [&]<typename T>(T) {
    append_elements<T>(
        tensor.data,
        [](T value, char* at) {
          if constexpr (std::is_signed_v<T>) {
            return write_int(value, at);
          } else {
            return write_uint(value, at);
          }
        },
        out);
  });
}

ProblemPtr append_strings(const TensorView& tensor, std::string& out) {
  bool is_first = true;
  for (const std::string_view element : tensor.elements) {
    if (!is_utf8(element)) {
      ProblemPtr problem = make_problem(ProblemKind::kInvalidInput,
                                        python_repr(tensor.name) +
                                            " holds bytes that are not UTF-8, which JSON cannot "
                                            "carry: ask for it as binary data");
      problem->tensor = tensor.name;
      problem->expected = "binary_data: true";
      return problem;
    }
    if (!is_first) out += ',';
    is_first = false;
    append_json_string(element, out);
  }
  return nullptr;
}

size_t raw_bytes(const TensorView& tensor) {
  if (tensor.dtype != DType::kBytes) return tensor.data.size();
  size_t bytes = tensor.elements.size() * kLengthBytes;
  for (const std::string_view element : tensor.elements) bytes += element.size();
  return bytes;
}

void append_raw(const TensorView& tensor, std::string& out) {
  if (tensor.dtype != DType::kBytes) {
    out.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    return;
  }
  for (const std::string_view element : tensor.elements) {
    const auto length = static_cast<uint32_t>(element.size());
    char prefix[kLengthBytes];
    std::memcpy(prefix, &length, kLengthBytes);
    out.append(prefix, kLengthBytes);
    out += element;
  }
}

bool goes_raw(const AnswerTensor& output, const AnswerFormat& format) {
  if (format.kind == BodyFormat::kBinary) return true;
  return output.binary && !format.is_json_only;
}

ProblemPtr append_output(const AnswerTensor& output, bool is_raw, bool non_finite_null,
                         std::string& out) {
  const TensorView& tensor = output.tensor;
  out += "{\"name\":";
  append_json_string(tensor.name, out);
  out += ",\"shape\":[";
  for (int axis = 0; axis < tensor.shape.rank; ++axis) {
    if (axis > 0) out += ',';
    append_int(tensor.shape.dims[static_cast<size_t>(axis)], out);
  }
  out += "],\"datatype\":\"";
  out += dtype_name(tensor.dtype);
  if (is_raw) {
    out += "\",\"parameters\":{\"binary_data_size\":";
    append_uint(raw_bytes(tensor), out);
    out += "}}";
    return nullptr;
  }
  out += "\",\"data\":[";
  if (tensor.dtype == DType::kBytes) {
    PELTON_RETURN_IF_PROBLEM(append_strings(tensor, out));
  } else {
    append_numbers(tensor, non_finite_null, out);
  }
  out += "]}";
  return nullptr;
}

ProblemPtr append_head(const InferAnswer& answer, const AnswerFormat& format, std::string& out) {
  out += "{\"model_name\":";
  append_json_string(answer.model_name, out);
  out += ",\"model_version\":";
  append_json_string(answer.model_version, out);
  if (answer.id) {
    out += ",\"id\":";
    append_json_string(*answer.id, out);
  }
  out += ",\"outputs\":[";
  for (size_t index = 0; index < answer.outputs.size(); ++index) {
    if (index > 0) out += ',';
    const AnswerTensor& output = answer.outputs[index];
    PELTON_RETURN_IF_PROBLEM(
        append_output(output, goes_raw(output, format), answer.non_finite_null, out));
  }
  out += "]}";
  return nullptr;
}

}  // namespace

ProblemPtr encode_oip_answer(const InferAnswer& answer, const AnswerFormat& format,
                             std::string& out, EncodedHead& head) {
  const size_t begin = out.size();
  if (ProblemPtr problem = append_head(answer, format, out)) {
    out.resize(begin);
    return problem;
  }
  const size_t head_end = out.size();
  for (const AnswerTensor& output : answer.outputs) {
    if (goes_raw(output, format)) append_raw(output.tensor, out);
  }
  // Without any raw byte the body is plain JSON, as Triton does it: clients take a raw output of
  // size 0 from the head alone.
  const bool has_raw = out.size() > head_end;
  head.content_type = has_raw ? kOctetType : kJsonType;
  head.json_bytes = has_raw ? static_cast<int64_t>(head_end - begin) : -1;
  return nullptr;
}

}  // namespace pelton
