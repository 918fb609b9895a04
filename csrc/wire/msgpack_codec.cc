#include "csrc/wire/msgpack_codec.h"

#include <cstdint>
#include <string_view>

#include "csrc/wire/msgpack_request.h"
#include "csrc/wire/msgpack_value.h"
#include "csrc/wire/msgpack_writer.h"

namespace pelton {
namespace {

void append_tensor(const TensorView& tensor, std::string& out) {
  append_msg_map(4, out);
  append_msg_str("name", out);
  append_msg_str(tensor.name, out);
  append_msg_str("datatype", out);
  append_msg_str(dtype_name(tensor.dtype), out);
  append_msg_str("shape", out);
  append_msg_array(static_cast<size_t>(tensor.shape.rank), out);
  for (const int64_t dim : tensor.shape.view()) append_msg_int(dim, out);
  append_msg_str("data", out);
  if (tensor.dtype != DType::kBytes) {
    append_msg_bin(tensor.data.size(), out);
    out.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    return;
  }
  append_msg_array(tensor.elements.size(), out);
  for (const std::string_view element : tensor.elements) {
    append_msg_bin(element.size(), out);
    out += element;
  }
}

}  // namespace

ProblemPtr decode_msgpack_infer(std::span<const std::byte> body, const DecodeLimits& limits,
                                std::span<const TensorSpec> specs, InferRequest& request) {
  PELTON_RETURN_IF_PROBLEM(scan_msgpack(body, limits));
  return read_msgpack_request(body, limits, specs, request);
}

void encode_msgpack_infer(const InferAnswer& answer, std::string& out) {
  append_msg_map(answer.id ? 4 : 3, out);
  append_msg_str("model_name", out);
  append_msg_str(answer.model_name, out);
  append_msg_str("model_version", out);
  append_msg_str(answer.model_version, out);
  if (answer.id) {
    append_msg_str("id", out);
    append_msg_str(*answer.id, out);
  }
  append_msg_str("outputs", out);
  append_msg_array(answer.outputs.size(), out);
  for (const AnswerTensor& output : answer.outputs) append_tensor(output.tensor, out);
}

}  // namespace pelton
