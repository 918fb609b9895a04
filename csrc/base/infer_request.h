// The codec-neutral request and answer of inference, which wire, control and front share. The
// native twin of InferRequest and InferResponse in pyserver/pelton/codec/types.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "csrc/base/scratch.h"
#include "csrc/base/tensor.h"

namespace pelton {

inline constexpr int kPriorityDefault = 2;
inline constexpr int kPriorityLevels = 4;

// A custom parameter of the caller. Integers beyond int64 are uint64.
struct Parameter {
  std::string_view name;
  std::variant<bool, int64_t, uint64_t, double, std::string_view> value;
};

// An output that the caller named; `binary` asks for raw bytes instead of JSON numbers.
struct WantedOutput {
  std::string_view name;
  bool binary = false;
};

// Decoded and checked for form, not yet against a model's contract. Views point into the body or
// into `scratch`, and are valid while both are. Not thread-safe. Meant to be used again: clear()
// keeps memory.
struct InferRequest {
  std::optional<std::string_view> id;
  std::vector<TensorView> inputs;
  std::vector<WantedOutput> outputs;  // empty: all of them, in the form binary_output_default
  std::vector<Parameter> parameters;  // the caller's own; those with a meaning are members below
  bool binary_output_default = false;
  int priority = kPriorityDefault;  // 1 (first) to 4
  int64_t timeout_us = 0;           // how long it may wait; 0: the model's default
  std::optional<bool> truncate;     // texts over the model's limit; nullopt: the model's setting
  bool non_finite_null = false;     // JSON answers: null where a number is NaN or infinite
  // True: the request uses what the native path does not do (shared memory, classification). Then
  // nothing else of it may be used; the Python path answers it from the same bytes.
  bool is_for_python = false;
  Scratch scratch;

  void clear() {
    id.reset();
    inputs.clear();
    outputs.clear();
    parameters.clear();
    binary_output_default = false;
    priority = kPriorityDefault;
    timeout_us = 0;
    truncate.reset();
    non_finite_null = false;
    is_for_python = false;
    scratch.reset();
  }
};

// One output of an answer; `binary` as WantedOutput says.
struct AnswerTensor {
  TensorView tensor;
  bool binary = false;
};

// An answer before it is encoded. `outputs` are in the order asked for, or in the model's order.
struct InferAnswer {
  std::string_view model_name;
  std::string_view model_version;
  std::optional<std::string_view> id;
  std::span<const AnswerTensor> outputs;
  bool non_finite_null = false;
};

}  // namespace pelton
