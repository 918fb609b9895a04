#include "csrc/front/bind_names.h"

#include <algorithm>

#include "csrc/front/bind_problems.h"
#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

constexpr std::string_view kIds = "input_ids";

// Token ids may come as INT64 or INT32: the specs that this holds for.
std::span<const TensorSpec> id_specs(const ModelContract& contract) {
  if (!contract.alternatives.empty()) return contract.alternatives;
  if (find_spec(contract.inputs, kIds) != nullptr) return contract.inputs;
  return {};
}

bool is_id_type(DType dtype) { return dtype == DType::kInt64 || dtype == DType::kInt32; }

// `kind` is "input" or "output".
ProblemPtr unknown_name(const std::string& kind, std::string_view name,
                        std::span<const TensorSpec> specs) {
  std::string names = joined_names(specs);
  std::string message = kind + ' ' + python_repr(name) + ": the model has no such " + kind +
                        "; its " + kind + "s are " + names;
  auto problem = make_problem(ProblemKind::kInvalidInput, std::move(message));
  problem->tensor = name;
  problem->expected = std::move(names);
  problem->got = name;
  return problem;
}

ProblemPtr check_dtype(const ModelContract& contract, std::span<const TensorSpec> ids,
                       const TensorView& tensor) {
  if (find_spec(ids, tensor.name) != nullptr) {
    if (is_id_type(tensor.dtype)) return nullptr;
    return wrong_input(tensor.name, "datatype INT64 or INT32",
                       std::string(dtype_name(tensor.dtype)));
  }
  const TensorSpec* const spec = find_spec(contract.inputs, tensor.name);
  if (spec == nullptr || spec->dtype == tensor.dtype) return nullptr;
  return wrong_input(tensor.name, "datatype " + std::string(dtype_name(spec->dtype)),
                     std::string(dtype_name(tensor.dtype)));
}

}  // namespace

const TensorView* find_tensor(std::span<const TensorView> tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [name](const TensorView& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

const TensorSpec* find_spec(std::span<const TensorSpec> specs, std::string_view name) {
  const auto found = std::find_if(specs.begin(), specs.end(),
                                  [name](const TensorSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string joined_names(std::span<const TensorSpec> specs) {
  std::string names;
  for (const TensorSpec& spec : specs) {
    if (!names.empty()) names += ", ";
    names += spec.name;
  }
  return names;
}

ProblemPtr check_tensors(const ModelContract& contract, std::span<const TensorView> tensors) {
  const std::span<const TensorSpec> ids = id_specs(contract);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& tensor = tensors[i];
    if (find_tensor(tensors.first(i), tensor.name) != nullptr) {
      return wrong_input(tensor.name, "it once", "it twice");
    }
    PELTON_RETURN_IF_PROBLEM(check_dtype(contract, ids, tensor));
    if (tensor.dtype == DType::kBytes && tensor.shape.rank != 1) {
      return wrong_input(tensor.name, "shape [-1]", shape_text(tensor.shape.view()));
    }
  }
  return nullptr;
}

ProblemPtr check_names(std::span<const TensorView> tensors, std::span<const TensorSpec> specs) {
  for (const TensorView& tensor : tensors) {
    if (find_spec(specs, tensor.name) == nullptr) return unknown_name("input", tensor.name, specs);
  }
  for (const TensorSpec& spec : specs) {
    if (find_tensor(tensors, spec.name) == nullptr) {
      return wrong_input(spec.name, "a tensor", "none");
    }
  }
  return nullptr;
}

ProblemPtr bind_outputs(std::span<const TensorSpec> specs, std::span<const WantedOutput> wanted,
                        std::vector<int>& outputs) {
  if (wanted.empty()) {
    for (size_t i = 0; i < specs.size(); ++i) outputs.push_back(static_cast<int>(i));
    return nullptr;
  }
  for (const WantedOutput& output : wanted) {
    const TensorSpec* const spec = find_spec(specs, output.name);
    if (spec == nullptr) return unknown_name("output", output.name, specs);
    const auto same = [&output](const WantedOutput& other) { return other.name == output.name; };
    if (std::count_if(wanted.begin(), wanted.end(), same) > 1) {
      auto problem =
          make_problem(ProblemKind::kInvalidInput,
                       "output " + python_repr(output.name) + ": expected it once, got it twice");
      problem->tensor = output.name;
      problem->expected = "each output once";
      problem->got = "twice";
      return problem;
    }
    outputs.push_back(static_cast<int>(spec - specs.data()));
  }
  return nullptr;
}

}  // namespace pelton
