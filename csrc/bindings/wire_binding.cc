#include "csrc/bindings/wire_binding.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "csrc/bindings/problem_binding.h"
#include "csrc/wire/embeddings_codec.h"
#include "csrc/wire/error_body.h"
#include "csrc/wire/msgpack_codec.h"

namespace pelton {
namespace {

namespace py = pybind11;

using OptionalText = std::optional<std::string_view>;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

py::str to_str(std::string_view text) {
  PyObject* const decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape");
  if (!decoded) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

DType dtype_of(std::string_view name) {
  for (uint8_t number = 1; const std::optional<DType> dtype = dtype_from_number(number); ++number) {
    if (dtype_name(*dtype) == name) return *dtype;
  }
  throw py::value_error("no datatype " + std::string(name));
}

py::tuple tensor_tuple(const TensorView& tensor) {
  py::tuple shape(static_cast<size_t>(tensor.shape.rank));
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = tensor.shape.dims[i];
  py::object data;
  if (tensor.dtype == DType::kBytes) {
    py::list elements;
    for (const std::string_view element : tensor.elements) elements.append(py::bytes(element));
    data = std::move(elements);
  } else {
    data = py::bytes(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return py::make_tuple(to_str(tensor.name), std::string(dtype_name(tensor.dtype)), shape, data);
}

py::object parameter_object(const Parameter& parameter) {
  if (const auto* text = std::get_if<std::string_view>(&parameter.value)) return to_str(*text);
  return std::visit([](const auto& value) -> py::object { return py::cast(value); },
                    parameter.value);
}

py::dict decode_msgpack(std::string_view body, const py::dict& limits, const py::sequence& specs) {
  InferRequest request;
  raise_if_problem(
      decode_msgpack_infer(bytes_of(body), limits_of(limits), specs_of(specs), request));
  return request_dict(request);
}

// Tensors as (name, OIP datatype, shape, data), as request_dict() makes them.
py::bytes encode_msgpack(std::string_view model_name, std::string_view model_version,
                         OptionalText id, const py::sequence& outputs) {
  std::vector<AnswerTensor> tensors;
  std::vector<std::vector<std::string_view>> elements;
  elements.reserve(outputs.size());
  for (const py::handle item : outputs) {
    const auto [name, dtype, shape, data] = item.cast<
        std::tuple<std::string_view, std::string_view, std::vector<int64_t>, py::object>>();
    TensorView tensor;
    tensor.name = name;
    tensor.dtype = dtype_of(dtype);
    for (const int64_t dim : shape) tensor.shape.append(dim);
    if (tensor.dtype == DType::kBytes) {
      elements.push_back(data.cast<std::vector<std::string_view>>());
      tensor.elements = elements.back();
    } else {
      tensor.data = bytes_of(data.cast<std::string_view>());
    }
    tensors.push_back({tensor, true});
  }
  InferAnswer answer;
  answer.model_name = model_name;
  answer.model_version = model_version;
  answer.id = id;
  answer.outputs = tensors;
  std::string out;
  encode_msgpack_infer(answer, out);
  return out;
}

py::dict decode_embeddings_dict(OptionalText content_type, std::string_view body,
                                const py::dict& limits) {
  JsonDocument memory;
  EmbeddingsRequest request;
  raise_if_problem(
      decode_embeddings(content_type, bytes_of(body), limits_of(limits), memory, request));
  py::dict members;
  members["model"] = to_str(request.model);
  py::list texts;
  for (const std::string_view text : request.texts) texts.append(to_str(text));
  members["texts"] = std::move(texts);
  members["ids"] = request.ids;
  members["lengths"] = request.lengths;
  members["base64"] = request.base64;
  members["dimensions"] = request.dimensions;
  members["truncate"] = request.truncate;
  return members;
}

py::bytes encode_embeddings_bytes(
    const py::array_t<float, py::array::c_style | py::array::forcecast>& vectors,
    std::string_view model, int64_t token_count, bool base64) {
  if (vectors.ndim() != 2) throw py::value_error("expected vectors of two dimensions");
  std::string out;
  encode_embeddings({vectors.data(), static_cast<size_t>(vectors.size())}, vectors.shape(0), model,
                    token_count, base64, out);
  return out;
}

Problem problem_of(int kind, std::string_view message, const py::dict& details) {
  if (kind < 1 || kind > static_cast<int>(ProblemKind::kLast))
    throw py::value_error("no such kind");
  Problem problem;
  problem.kind = static_cast<ProblemKind>(kind);
  problem.message = message;
  for (const auto& [key, value] : details) {
    const auto name = key.cast<std::string>();
    const auto set_text = [&](const char* wanted, std::optional<std::string>& member) {
      if (name == wanted) member = value.cast<std::string>();
    };
    set_text("tensor", problem.tensor);
    set_text("field", problem.field);
    set_text("expected", problem.expected);
    set_text("got", problem.got);
    set_text("model", problem.model);
    set_text("version", problem.version);
    if (name == "offset") problem.offset = value.cast<int64_t>();
    if (name == "retry_after_ms") problem.retry_after_ms = value.cast<int64_t>();
  }
  return problem;
}

// (Content-Type, body) of a problem as `path` shows it; `fields` holds those of the request that
// matter, by their names in lower case.
py::tuple encode_problem(int kind, std::string_view message, const py::dict& details,
                         std::string_view path, std::string_view request_id,
                         const py::dict& fields) {
  ErrorContext context;
  context.shape = error_shape(path);
  context.path = path;
  context.request_id = request_id;
  const auto field = [&fields](const char* name) -> OptionalText {
    if (!fields.contains(name)) return std::nullopt;
    return fields[name].cast<std::string_view>();
  };
  context.content_type = field("content-type");
  context.accept = field("accept");
  context.inference_header_content_length = field("inference-header-content-length");
  std::string out;
  const std::string_view type = encode_error(problem_of(kind, message, details), context, out);
  return py::make_tuple(to_str(type), py::bytes(out));
}

py::bytes retry_headers(int kind, std::optional<int64_t> retry_after_ms, double jitter) {
  Problem problem = problem_of(kind, "", {});
  problem.retry_after_ms = retry_after_ms;
  std::string out;
  append_retry_headers(problem, jitter, out);
  return out;
}

}  // namespace

DecodeLimits limits_of(const py::dict& limits) {
  DecodeLimits result;
  for (const auto& [key, value] : limits) {
    const auto name = key.cast<std::string>();
    const auto number = value.cast<int64_t>();
    const std::pair<const char*, int64_t*> members[] = {
        {"body_bytes_max", &result.body_bytes_max},
        {"head_bytes_max", &result.head_bytes_max},
        {"tensors_max", &result.tensors_max},
        {"elements_max", &result.elements_max},
        {"nodes_max", &result.nodes_max},
        {"containers_max", &result.containers_max},
        {"parameters_max", &result.parameters_max},
        {"string_bytes_max", &result.string_bytes_max},
        {"name_bytes_max", &result.name_bytes_max},
        {"digits_max", &result.digits_max},
        {"embedding_items_max", &result.embedding_items_max},
        {"embedding_tokens_max", &result.embedding_tokens_max},
    };
    bool is_known = name == "rank_max";
    if (is_known) result.rank_max = static_cast<int>(number);
    for (const auto& [member, place] : members) {
      if (name != member) continue;
      *place = number;
      is_known = true;
    }
    if (!is_known) throw py::value_error("no limit " + name);
  }
  return result;
}

std::vector<TensorSpec> specs_of(const py::sequence& specs) {
  std::vector<TensorSpec> result;
  for (const py::handle item : specs) {
    auto [name, dtype, shape] =
        item.cast<std::tuple<std::string, std::string_view, std::vector<int64_t>>>();
    result.push_back({std::move(name), dtype_of(dtype), std::move(shape)});
  }
  return result;
}

py::dict request_dict(const InferRequest& request) {
  py::dict members;
  members["is_for_python"] = request.is_for_python;
  if (request.is_for_python) return members;
  members["id"] = request.id ? py::object(to_str(*request.id)) : py::none();
  py::list inputs;
  for (const TensorView& input : request.inputs) inputs.append(tensor_tuple(input));
  members["inputs"] = std::move(inputs);
  py::list outputs;
  for (const WantedOutput& output : request.outputs) {
    outputs.append(py::make_tuple(to_str(output.name), output.binary));
  }
  members["outputs"] = std::move(outputs);
  py::dict parameters;
  for (const Parameter& parameter : request.parameters) {
    parameters[to_str(parameter.name)] = parameter_object(parameter);
  }
  members["parameters"] = std::move(parameters);
  members["binary_output_default"] = request.binary_output_default;
  members["priority"] = request.priority;
  members["timeout_us"] = request.timeout_us;
  members["truncate"] = request.truncate;
  members["non_finite_null"] = request.non_finite_null;
  return members;
}

void bind_wire(py::module_& module) {
  module.def("decode_msgpack", &decode_msgpack, py::arg("body"), py::arg("limits"),
             py::arg("specs"));
  module.def("encode_msgpack", &encode_msgpack, py::arg("model_name"), py::arg("model_version"),
             py::arg("request_id"), py::arg("outputs"));
  module.def("decode_embeddings", &decode_embeddings_dict, py::arg("content_type"), py::arg("body"),
             py::arg("limits"));
  module.def("encode_embeddings", &encode_embeddings_bytes, py::arg("vectors"), py::arg("model"),
             py::arg("token_count"), py::arg("base64"));
  module.def("encode_problem", &encode_problem, py::arg("kind"), py::arg("message"),
             py::arg("details"), py::arg("path"), py::arg("request_id"), py::arg("fields"));
  module.def("retry_headers", &retry_headers, py::arg("kind"), py::arg("retry_after_ms"),
             py::arg("jitter"));
}

}  // namespace pelton
