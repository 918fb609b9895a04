#include "tests/native/plan/trusting_executor.h"

#include <cstring>

#include "csrc/base/check.h"

namespace pelton::plan_test {
namespace {

using plan_format::kDimTokens;
using plan_format::kNoTensor;
using plan_format::Op;
using plan_format::TensorLayout;
using plan_format::TensorRole;

constexpr int64_t kRows = 2;
constexpr int64_t kTokens = 4;
constexpr int64_t kLongest = 3;
constexpr int64_t kElementsMax = 1 << 18;
constexpr int64_t kFloatBytes = sizeof(float);

int64_t first_dim(const PlanTensor& tensor) {
  if (tensor.role == TensorRole::kWeight) return tensor.dims[0];
  return tensor.dims[0] == kDimTokens ? kTokens : kRows;
}

int64_t row_elements(const PlanTensor& tensor) {
  int64_t elements = 1;
  for (size_t axis = 1; axis < tensor.dims.size(); ++axis) elements *= tensor.dims[axis];
  return elements;
}

class Executor {
 public:
  explicit Executor(const Plan& plan) : plan_(plan), buffers_(plan.tensors().size()) {}

  void run() {
    for (size_t index = 0; index < buffers_.size(); ++index) {
      const PlanTensor& tensor = plan_.tensors()[index];
      if (tensor.role == TensorRole::kWeight) continue;
      if (row_elements(tensor) > kElementsMax) return;
      const int64_t elements = first_dim(tensor) * row_elements(tensor);
      buffers_[index].resize(static_cast<size_t>(elements) * dtype_bytes(tensor.dtype));
    }
    for (const PlanInstruction& instruction : plan_.instructions()) step(instruction);
  }

 private:
  // The float at `at`; for panels `at` counts in the packed layout. Weights lie side by side in
  // one mapping, where no sanitizer sees their borders.
  float read(int32_t index, int64_t at) const {
    const PlanTensor& source = tensor(index);
    const auto& buffer = buffers_[static_cast<size_t>(index)];
    const bool is_weight = source.role == TensorRole::kWeight;
    const uint64_t bytes = is_weight ? source.weight_bytes : buffer.size();
    PELTON_CHECK(at >= 0 && static_cast<uint64_t>(at) < bytes / sizeof(float));
    float value;
    std::memcpy(&value, (is_weight ? source.weight : buffer.data()) + at * kFloatBytes,
                sizeof(value));
    return value;
  }

  void write(int32_t index, int64_t at, float value) {
    auto& buffer = buffers_[static_cast<size_t>(index)];
    PELTON_CHECK(at >= 0 && static_cast<uint64_t>(at) < buffer.size() / sizeof(float));
    std::memcpy(buffer.data() + at * kFloatBytes, &value, sizeof(value));
  }

  int64_t id_at(int32_t index, int64_t at) const {
    int32_t value;
    std::memcpy(&value, buffers_[static_cast<size_t>(index)].data() + at * kFloatBytes,
                sizeof(value));
    return value;
  }

  const PlanTensor& tensor(int32_t index) const {
    return plan_.tensors()[static_cast<size_t>(index)];
  }

  void step(const PlanInstruction& instruction) {
    const int32_t output = instruction.outputs[0];
    const int64_t rows = first_dim(tensor(output));
    const int64_t columns = row_elements(tensor(output));
    if (instruction.op == Op::kEmbedding && !positions_fit(instruction)) return;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        const float value = element(instruction, row, column, columns);
        write(output, row * columns + column, value);
      }
    }
  }

  bool positions_fit(const PlanInstruction& instruction) const {
    const int32_t table = instruction.inputs[2];
    return table == kNoTensor || instruction.ints[0] + kLongest <= tensor(table).dims[0];
  }

  // What one element of the output depends on, all of it read.
  float element(const PlanInstruction& instruction, int64_t row, int64_t column,
                int64_t columns) const {
    const auto& in = instruction.inputs;
    switch (instruction.op) {
      case Op::kEmbedding:
        return embedding(instruction, row, column, columns);
      case Op::kLayerNorm:
        return read(in[0], row * columns + column) * read(in[1], column) + read(in[2], column);
      case Op::kGemm:
        return gemm(in, row, column, columns);
      case Op::kRaggedAttention:
        return attention(instruction, row, column, columns);
      case Op::kPool:
        return read(in[0], row * columns + column) + read(in[0], (row + 2) * columns + column);
      case Op::kL2Normalize:
      case Op::kActivation:
        return read(in[0], row * columns + column);
      case Op::kBinary:
        return read(in[0], row * columns + column) + second(in[1], row, column, columns);
    }
    PELTON_CHECK(false);
    return 0;
  }

  float embedding(const PlanInstruction& instruction, int64_t row, int64_t column,
                  int64_t columns) const {
    const auto& in = instruction.inputs;
    // Ids are zeros: their range is the executor's to check.
    float sum = read(in[1], id_at(in[0], row) * columns + column);
    if (in[2] != kNoTensor)
      sum += read(in[2], (instruction.ints[0] + row % kLongest) * columns + column);
    const int64_t type = in[4] == kNoTensor ? 0 : id_at(in[4], row);
    if (in[3] != kNoTensor) sum += read(in[3], type * columns + column);
    return sum;
  }

  float gemm(const std::vector<int32_t>& in, int64_t row, int64_t column, int64_t columns) const {
    PELTON_CHECK(tensor(in[1]).layout == TensorLayout::kPanels16);
    const int64_t depth = tensor(in[1]).dims[0];
    float sum = in[2] == kNoTensor ? 0 : read(in[2], column);
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t panel = (column / 16 * depth + k) * 16;
      sum += read(in[0], row * depth + k) * read(in[1], panel + column % 16);
      sum += 0 * read(in[1], panel + 15);  // kernels read whole panels
    }
    if (in[3] != kNoTensor) sum += read(in[3], row * columns + column);
    return sum;
  }

  float attention(const PlanInstruction& instruction, int64_t row, int64_t column,
                  int64_t columns) const {
    const int64_t head = columns / instruction.ints[0];
    PELTON_CHECK(head * instruction.ints[0] == columns);
    float sum = 0;
    for (int64_t part = 0; part < 3; ++part) {
      sum += read(instruction.inputs[0], row * 3 * columns + part * columns + column);
    }
    return sum;
  }

  float second(int32_t index, int64_t row, int64_t column, int64_t columns) const {
    if (tensor(index).role != TensorRole::kWeight) return read(index, row * columns + column);
    return read(index, tensor(index).dims[0] == 1 ? 0 : column);
  }

  const Plan& plan_;
  std::vector<std::vector<std::byte>> buffers_;
};

}  // namespace

void execute_trusting(const Plan& plan) { Executor(plan).run(); }

}  // namespace pelton::plan_test
