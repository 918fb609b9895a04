#include "csrc/front/served_model.h"

#include <utility>

namespace pelton {

namespace {

int64_t row_bytes(const TensorSpec& spec) {
  auto bytes = static_cast<int64_t>(dtype_bytes(spec.dtype));
  for (size_t axis = 1; axis < spec.shape.size(); ++axis) bytes *= spec.shape[axis];
  return bytes;
}

}  // namespace

ServedModel::ServedModel(Options options) : options_(std::move(options)), gates_(options_.gates) {
  for (const TensorSpec& input : options_.contract.inputs) {
    input_row_bytes_.push_back(row_bytes(input));
    is_text_encoder_ |= input.name == "text";
  }
  for (const TensorSpec& output : options_.contract.outputs) {
    output_row_bytes_.push_back(row_bytes(output));
  }
}

}  // namespace pelton
