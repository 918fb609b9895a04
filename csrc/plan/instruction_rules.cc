#include "csrc/plan/instruction_rules.h"

#include <array>
#include <cfloat>
#include <string_view>
#include <vector>

#include "csrc/plan/checks.h"

namespace pelton {
namespace {

using plan_format::kDimRows;
using plan_format::kDimTokens;
using plan_format::kNoTensor;
using plan_format::Op;
using plan_format::TensorLayout;
using plan_format::TensorRole;

using Dims = std::vector<int64_t>;

enum class Operand { kNone, kValue, kIds, kWeight, kPanels, kValueOrWeight };

struct OperandRule {
  std::string_view name;
  Operand kind = Operand::kNone;
  bool optional = false;
};

// One instruction with its tensors looked up.
class OpView {
 public:
  OpView(const PlanInstruction& instruction, std::span<const PlanTensor> tensors)
      : instruction_(instruction), tensors_(tensors) {}

  // nullptr where an optional operand is absent.
  const PlanTensor* input(size_t index) const { return at(instruction_.inputs[index]); }
  const PlanTensor* output() const { return at(instruction_.outputs[0]); }
  const PlanInstruction& instruction() const { return instruction_; }

 private:
  const PlanTensor* at(int32_t index) const {
    return index == kNoTensor ? nullptr : &tensors_[static_cast<size_t>(index)];
  }

  const PlanInstruction& instruction_;
  std::span<const PlanTensor> tensors_;
};

struct OpRule {
  Op op;
  std::string_view name;
  std::array<OperandRule, 5> inputs;  // up to the first kNone
  size_t int_count;                   // attributes in use; the others must be zero
  size_t float_count;
  Status (*check)(const OpView& view);
};

Status expect_dims(const char* field, const PlanTensor* tensor, const Dims& expected) {
  if (tensor == nullptr || tensor->dims == expected) return {};
  return plan_fault(field, dims_text(expected), dims_text(tensor->dims));
}

Status expect_rank(const char* field, const PlanTensor& tensor, size_t rank) {
  if (tensor.dims.size() == rank) return {};
  return plan_fault(field, std::to_string(rank) + " dimensions", dims_text(tensor.dims));
}

Status expect_tokens(const char* field, const PlanTensor& tensor, size_t rank) {
  PELTON_RETURN_IF_ERROR(expect_rank(field, tensor, rank));
  if (tensor.dims[0] == kDimTokens) return {};
  return plan_fault(field, "tokens as the first dimension", dims_text(tensor.dims));
}

Status expect_int(const OpView& view, const char* field, int64_t low, int64_t high) {
  const int64_t got = view.instruction().ints[0];
  if (got >= low && got <= high) return {};
  return plan_fault(field, std::to_string(low) + " to " + std::to_string(high),
                    std::to_string(got));
}

// Finite as a float, since that is what kernels take; NaN fails every comparison.
Status expect_float(const OpView& view, const char* field, bool zero_allowed) {
  const double got = view.instruction().floats[0];
  if (got <= FLT_MAX && (got > 0 || (zero_allowed && got == 0))) return {};
  return plan_fault(field, zero_allowed ? "a finite number >= 0" : "a finite number > 0",
                    std::to_string(got));
}

Status expect_activation(const OpView& view) {
  return expect_int(view, "activation", 0, static_cast<int64_t>(plan_format::Activation::kSilu));
}

Status check_embedding(const OpView& view) {
  const PlanTensor& ids = *view.input(0);
  const PlanTensor& words = *view.input(1);
  const PlanTensor* positions = view.input(2);
  const PlanTensor* types = view.input(3);
  const PlanTensor* type_ids = view.input(4);
  PELTON_RETURN_IF_ERROR(expect_tokens("ids", ids, 1));
  PELTON_RETURN_IF_ERROR(expect_rank("word table", words, 2));
  const int64_t hidden = words.dims[1];
  if (positions != nullptr) {
    PELTON_RETURN_IF_ERROR(expect_dims("position table", positions, {positions->dims[0], hidden}));
  }
  if (types != nullptr) {
    PELTON_RETURN_IF_ERROR(expect_dims("type table", types, {types->dims[0], hidden}));
  }
  if (type_ids != nullptr && types == nullptr) {
    return plan_fault("type ids", "none without a type table", "'" + type_ids->name + "'");
  }
  PELTON_RETURN_IF_ERROR(expect_dims("type ids", type_ids, {kDimTokens}));
  PELTON_RETURN_IF_ERROR(
      expect_int(view, "first position", 0, positions == nullptr ? 0 : positions->dims[0] - 1));
  return expect_dims("output", view.output(), {kDimTokens, hidden});
}

Status check_layer_norm(const OpView& view) {
  const PlanTensor& x = *view.input(0);
  PELTON_RETURN_IF_ERROR(expect_rank("x", x, 2));
  PELTON_RETURN_IF_ERROR(expect_dims("gamma", view.input(1), {x.dims[1]}));
  PELTON_RETURN_IF_ERROR(expect_dims("beta", view.input(2), {x.dims[1]}));
  PELTON_RETURN_IF_ERROR(expect_float(view, "epsilon", true));
  return expect_dims("output", view.output(), x.dims);
}

Status check_gemm(const OpView& view) {
  const PlanTensor& x = *view.input(0);
  const PlanTensor& weight = *view.input(1);
  PELTON_RETURN_IF_ERROR(expect_rank("x", x, 2));
  const int64_t columns = weight.dims[1];
  PELTON_RETURN_IF_ERROR(expect_dims("weight", &weight, {x.dims[1], columns}));
  PELTON_RETURN_IF_ERROR(expect_dims("bias", view.input(2), {columns}));
  PELTON_RETURN_IF_ERROR(expect_dims("residual", view.input(3), {x.dims[0], columns}));
  PELTON_RETURN_IF_ERROR(expect_activation(view));
  return expect_dims("output", view.output(), {x.dims[0], columns});
}

Status check_attention(const OpView& view) {
  const PlanTensor& qkv = *view.input(0);
  PELTON_RETURN_IF_ERROR(expect_tokens("qkv", qkv, 2));
  if (qkv.dims[1] % 3 != 0) {
    return plan_fault("qkv", "a multiple of 3 as the second dimension", dims_text(qkv.dims));
  }
  const int64_t hidden = qkv.dims[1] / 3;
  const int64_t heads = view.instruction().ints[0];
  if (heads <= 0 || hidden % heads != 0) {
    return plan_fault("heads", "a divisor of " + std::to_string(hidden), std::to_string(heads));
  }
  PELTON_RETURN_IF_ERROR(expect_float(view, "scale", false));
  return expect_dims("output", view.output(), {kDimTokens, hidden});
}

Status check_pool(const OpView& view) {
  const PlanTensor& x = *view.input(0);
  PELTON_RETURN_IF_ERROR(expect_tokens("x", x, 2));
  PELTON_RETURN_IF_ERROR(
      expect_int(view, "pooling", 0, static_cast<int64_t>(plan_format::Pooling::kMeanSqrtLength)));
  return expect_dims("output", view.output(), {kDimRows, x.dims[1]});
}

Status check_l2_normalize(const OpView& view) {
  PELTON_RETURN_IF_ERROR(expect_rank("x", *view.input(0), 2));
  PELTON_RETURN_IF_ERROR(expect_float(view, "smallest norm", true));
  return expect_dims("output", view.output(), view.input(0)->dims);
}

Status check_activation(const OpView& view) {
  PELTON_RETURN_IF_ERROR(expect_activation(view));
  return expect_dims("output", view.output(), view.input(0)->dims);
}

Status check_binary(const OpView& view) {
  const PlanTensor& a = *view.input(0);
  const PlanTensor& b = *view.input(1);
  if (b.role == TensorRole::kWeight) {
    int64_t row = 1;
    for (size_t axis = 1; axis < a.dims.size(); ++axis) row *= a.dims[axis];
    if (b.dims != Dims{1}) PELTON_RETURN_IF_ERROR(expect_dims("b", &b, {row}));
  } else {
    PELTON_RETURN_IF_ERROR(expect_dims("b", &b, a.dims));
  }
  PELTON_RETURN_IF_ERROR(
      expect_int(view, "operation", 0, static_cast<int64_t>(plan_format::Binary::kDivide)));
  return expect_dims("output", view.output(), a.dims);
}

constexpr OperandRule kX{"x", Operand::kValue};

constexpr std::array<OpRule, 8> kRules = {{
    {Op::kEmbedding,
     "embedding",
     {{{"ids", Operand::kIds},
       {"word table", Operand::kWeight},
       {"position table", Operand::kWeight, true},
       {"type table", Operand::kWeight, true},
       {"type ids", Operand::kIds, true}}},
     1,
     0,
     check_embedding},
    {Op::kLayerNorm,
     "layer_norm",
     {{kX, {"gamma", Operand::kWeight}, {"beta", Operand::kWeight}}},
     0,
     1,
     check_layer_norm},
    {Op::kGemm,
     "gemm",
     {{kX,
       {"weight", Operand::kPanels},
       {"bias", Operand::kWeight, true},
       {"residual", Operand::kValue, true}}},
     1,
     0,
     check_gemm},
    {Op::kRaggedAttention, "ragged_attention", {{{"qkv", Operand::kValue}}}, 1, 1, check_attention},
    {Op::kPool, "pool", {{kX}}, 1, 0, check_pool},
    {Op::kL2Normalize, "l2_normalize", {{kX}}, 0, 1, check_l2_normalize},
    {Op::kActivation, "activation", {{kX}}, 1, 0, check_activation},
    {Op::kBinary,
     "binary",
     {{{"a", Operand::kValue}, {"b", Operand::kValueOrWeight}}},
     1,
     0,
     check_binary},
}};

const OpRule* rule_of(Op op) {
  for (const OpRule& rule : kRules) {
    if (rule.op == op) return &rule;
  }
  return nullptr;
}

std::string_view role_name(TensorRole role) {
  switch (role) {
    case TensorRole::kIntermediate:
      return "an intermediate";
    case TensorRole::kInput:
      return "an input";
    case TensorRole::kOutput:
      return "an output";
    case TensorRole::kWeight:
      return "a weight";
  }
  return "an unknown role";
}

std::string describe(const PlanTensor& tensor) {
  return "'" + tensor.name + "', " + std::string(role_name(tensor.role)) + " of " +
         std::string(dtype_name(tensor.dtype)) +
         (tensor.layout == TensorLayout::kPanels16 ? " in panels" : "");
}

bool kind_matches(Operand kind, const PlanTensor& tensor) {
  const bool weight = tensor.role == TensorRole::kWeight;
  const bool panels = tensor.layout == TensorLayout::kPanels16;
  const bool fp32 = tensor.dtype == DType::kFp32;
  switch (kind) {
    case Operand::kNone:
      return false;
    case Operand::kValue:
      return !weight && fp32;
    case Operand::kIds:
      return !weight && tensor.dtype == DType::kInt32;
    case Operand::kWeight:
      return weight && fp32 && !panels;
    case Operand::kPanels:
      return weight && fp32 && panels;
    case Operand::kValueOrWeight:
      return fp32 && !panels;
  }
  return false;
}

std::string_view kind_text(Operand kind) {
  switch (kind) {
    case Operand::kNone:
      return "nothing";
    case Operand::kValue:
      return "an FP32 tensor that is no weight";
    case Operand::kIds:
      return "an INT32 tensor that is no weight";
    case Operand::kWeight:
      return "a row-major FP32 weight";
    case Operand::kPanels:
      return "an FP32 weight in panels";
    case Operand::kValueOrWeight:
      return "a row-major FP32 tensor";
  }
  return "nothing";
}

Status check_operand(const OperandRule& rule, const PlanTensor* tensor) {
  if (tensor == nullptr) {
    if (rule.optional) return {};
    return plan_fault(std::string(rule.name), std::string(kind_text(rule.kind)), "none");
  }
  if (kind_matches(rule.kind, *tensor)) return {};
  return plan_fault(std::string(rule.name), std::string(kind_text(rule.kind)), describe(*tensor));
}

size_t operand_count(const OpRule& rule) {
  size_t count = 0;
  while (count < rule.inputs.size() && rule.inputs[count].kind != Operand::kNone) ++count;
  return count;
}

Status check_operands(const OpRule& rule, const OpView& view) {
  const PlanInstruction& instruction = view.instruction();
  const size_t expected = operand_count(rule);
  if (instruction.inputs.size() != expected) {
    return plan_fault("input_count", std::to_string(expected),
                      std::to_string(instruction.inputs.size()));
  }
  if (instruction.outputs.size() != 1) {
    return plan_fault("output_count", "1", std::to_string(instruction.outputs.size()));
  }
  for (size_t index = 0; index < expected; ++index) {
    PELTON_RETURN_IF_ERROR(check_operand(rule.inputs[index], view.input(index)));
  }
  return check_operand({"output", Operand::kValue}, view.output());
}

Status check_unused_attributes(const OpRule& rule, const PlanInstruction& instruction) {
  for (size_t index = rule.int_count; index < std::size(instruction.ints); ++index) {
    if (instruction.ints[index] == 0) continue;
    return plan_fault("ints[" + std::to_string(index) + "]", "0 (not used)",
                      std::to_string(instruction.ints[index]));
  }
  for (size_t index = rule.float_count; index < std::size(instruction.floats); ++index) {
    if (instruction.floats[index] == 0) continue;
    return plan_fault("floats[" + std::to_string(index) + "]", "0 (not used)",
                      std::to_string(instruction.floats[index]));
  }
  return {};
}

}  // namespace

Status check_instruction(const PlanInstruction& instruction, std::span<const PlanTensor> tensors) {
  const OpRule* rule = rule_of(instruction.op);
  if (rule == nullptr) {
    return plan_fault("op", "1 to " + std::to_string(kRules.size()),
                      std::to_string(static_cast<int>(instruction.op)));
  }
  const OpView view(instruction, tensors);
  PELTON_RETURN_IF_ERROR(check_operands(*rule, view));
  PELTON_RETURN_IF_ERROR(check_unused_attributes(*rule, instruction));
  return rule->check(view);
}

std::string_view op_name(Op op) {
  const OpRule* rule = rule_of(op);
  return rule == nullptr ? std::string_view() : rule->name;
}

}  // namespace pelton
