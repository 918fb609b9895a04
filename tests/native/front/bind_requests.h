// Requests and contracts for tests of the binder, which own what they point to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/front/model_contract.h"
#include "tests/native/test.h"

namespace pelton {

// A decoded request whose tensors start one byte behind an aligned address.
class RequestBuilder {
 public:
  template <typename T>
  RequestBuilder& add(std::string_view name, DType dtype, const std::vector<int64_t>& shape,
                      const std::vector<T>& values) {
    std::vector<std::byte>& bytes = buffers_.emplace_back(1 + values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
    TensorView& tensor = new_tensor(name, dtype, shape);
    tensor.data = {bytes.data() + 1, bytes.size() - 1};
    return *this;
  }
  RequestBuilder& add_texts(std::string_view name, const std::vector<int64_t>& shape,
                            const std::vector<std::string_view>& texts) {
    std::vector<std::string_view>& elements = texts_.emplace_back(texts);
    new_tensor(name, DType::kBytes, shape).elements = elements;
    return *this;
  }
  RequestBuilder& want(std::string_view output) {
    request_->outputs.push_back({.name = output});
    return *this;
  }
  RequestBuilder& truncate(bool value) {
    request_->truncate = value;
    return *this;
  }
  const InferRequest& request() const { return *request_; }

 private:
  TensorView& new_tensor(std::string_view name, DType dtype, const std::vector<int64_t>& shape) {
    TensorView& tensor = request_->inputs.emplace_back();
    tensor.name = name;
    tensor.dtype = dtype;
    for (const int64_t dim : shape) tensor.shape.append(dim);
    return tensor;
  }

  std::unique_ptr<InferRequest> request_ = std::make_unique<InferRequest>();
  std::deque<std::vector<std::byte>> buffers_;
  std::deque<std::vector<std::string_view>> texts_;
};

// Element `index` of what a pointer names, aligned or not.
template <typename T>
T element(const std::byte* data, size_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof(T), sizeof(T));
  return value;
}

// Expects that binding fails with this message, and that the members say the same.
inline void expect_refused(testing::Place place, const ProblemPtr& problem,
                           std::string_view message, std::string_view tensor,
                           std::string_view expected, std::string_view got) {
  if (problem == nullptr) {
    testing::fail(place.file, place.line, "expected a problem, got none");
    return;
  }
  testing::expect_equal(place, problem->message, message, "message");
  testing::expect_equal(place, problem->tensor.value_or("none"), tensor, "tensor");
  testing::expect_equal(place, problem->expected.value_or("none"), expected, "expected");
  testing::expect_equal(place, problem->got.value_or("none"), got, "got");
}

}  // namespace pelton

// EXPECT_WRONG(problem, "x", "shape [2]", "[3]"): input 'x': expected shape [2], got [3].
#define EXPECT_WRONG(problem, tensor, expected, got)                                              \
  ::pelton::expect_refused(                                                                       \
      {__FILE__, __LINE__}, problem,                                                              \
      std::string("input '") + (tensor) + "': expected " + (expected) + ", got " + (got), tensor, \
      expected, got)
