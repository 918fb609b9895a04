#include "csrc/bindings/codec_binding.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/bindings/problem_binding.h"
#include "csrc/bindings/wire_binding.h"
#include "csrc/wire/infer_codec.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/number_text.h"

namespace pelton {
namespace {

namespace py = pybind11;

using Field = std::optional<std::string_view>;

FormatFields fields_of(Field content_type, Field accept, Field head_length) {
  return {content_type, accept, head_length};
}

py::object number_object(const JsonValue& value) {
  const std::string_view text = value.number();
  if (value.is_integer()) {
    PyObject* const number = PyLong_FromString(std::string(text).c_str(), nullptr, 10);
    if (!number) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(number);
  }
  double number = 0;
  read_number(text.data(), text.data() + text.size(), number);
  return py::float_(number);
}

// As deep as parse() lets values be.
py::object value_object(const JsonValue& value) {
  switch (value.kind()) {
    case JsonKind::kNull:
      return py::none();
    case JsonKind::kFalse:
    case JsonKind::kTrue:
      return py::bool_(value.kind() == JsonKind::kTrue);
    case JsonKind::kNumber:
      return number_object(value);
    case JsonKind::kString:
      return py::str(value.string());
    case JsonKind::kArray: {
      py::list list;
      for (auto item = value.first_element(); item; item = item->next()) {
        list.append(value_object(*item));
      }
      return list;
    }
    case JsonKind::kObject:
      break;
  }
  py::dict object;
  for (auto member = value.first_member(); member; member = member->next()) {
    object[py::str(member->key())] = value_object(*member);
  }
  return object;
}

// (value, has_infinity)
py::tuple parse_json(std::string_view text, const py::dict& limits) {
  JsonDocument document;
  Scratch scratch;
  raise_if_problem(document.parse(text, limits_of(limits), scratch));
  return py::make_tuple(value_object(document.root()), document.has_infinity());
}

py::dict decode(Field content_type, Field head_length, std::string_view body,
                const py::dict& limits, const py::sequence& specs) {
  DecodeMemory memory;
  InferRequest request;
  const std::vector<TensorSpec> inputs = specs_of(specs);
  raise_if_problem(decode_infer(fields_of(content_type, std::nullopt, head_length),
                                std::as_bytes(std::span(body)), limits_of(limits), inputs, memory,
                                request));
  return request_dict(request);
}

int find_request_format(Field content_type, Field head_length) {
  BodyFormat format;
  raise_if_problem(request_format(fields_of(content_type, std::nullopt, head_length), format));
  return static_cast<int>(format);
}

// (BodyFormat, is_json_only, media type)
py::tuple find_answer_format(Field content_type, Field accept, int request) {
  AnswerFormat format;
  raise_if_problem(answer_format(fields_of(content_type, accept, std::nullopt),
                                 static_cast<BodyFormat>(request), format));
  return py::make_tuple(static_cast<int>(format.kind), format.is_json_only,
                        std::string(format.media_type));
}

// Each output is (name, OIP datatype, shape, data, is raw), data as request_dict() makes it; the
// format is what find_answer_format() gave. (Content-Type, bytes of the head or -1, body)
py::tuple encode(std::string_view model_name, std::string_view model_version, Field id,
                 const py::sequence& outputs, bool non_finite_null, const py::tuple& format) {
  std::vector<AnswerTensor> tensors;
  std::vector<std::vector<std::string_view>> elements(outputs.size());
  for (const py::handle item : outputs) {
    const auto output = item.cast<py::tuple>();
    const TensorSpec spec =
        specs_of(py::make_tuple(py::make_tuple(output[0], output[1], output[2])))[0];
    AnswerTensor answer;
    answer.tensor.name = output[0].cast<std::string_view>();
    answer.tensor.dtype = spec.dtype;
    for (const int64_t dim : spec.shape) answer.tensor.shape.append(dim);
    if (spec.dtype == DType::kBytes) {
      elements[tensors.size()] = output[3].cast<std::vector<std::string_view>>();
      answer.tensor.elements = elements[tensors.size()];
    } else {
      answer.tensor.data = std::as_bytes(std::span(output[3].cast<std::string_view>()));
    }
    answer.binary = output[4].cast<bool>();
    tensors.push_back(answer);
  }
  const auto media_type = format[2].cast<std::string>();
  const InferAnswer answer{model_name, model_version, id, tensors, non_finite_null};
  std::string out;
  EncodedHead head;
  raise_if_problem(encode_infer(
      answer, {static_cast<BodyFormat>(format[0].cast<int>()), media_type, format[1].cast<bool>()},
      out, head));
  return py::make_tuple(std::string(head.content_type), head.json_bytes, py::bytes(out));
}

}  // namespace

void bind_codec(py::module_& module) {
  module.def("parse_json", &parse_json, py::arg("text"), py::arg("limits"));
  module.def("decode_infer", &decode, py::arg("content_type"), py::arg("head_length"),
             py::arg("body"), py::arg("limits"), py::arg("specs"));
  module.def("request_format", &find_request_format, py::arg("content_type"),
             py::arg("head_length"));
  module.def("answer_format", &find_answer_format, py::arg("content_type"), py::arg("accept"),
             py::arg("request"));
  module.def("encode_infer", &encode, py::arg("model_name"), py::arg("model_version"),
             py::arg("request_id"), py::arg("outputs"), py::arg("non_finite_null"),
             py::arg("form"));
}

}  // namespace pelton
