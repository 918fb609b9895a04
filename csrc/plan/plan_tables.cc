// PlanParser's second half: the tensor table and the instruction list.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "csrc/plan/checks.h"
#include "csrc/plan/instruction_rules.h"
#include "csrc/plan/plan_parser.h"

namespace pelton {
namespace {

using plan_format::InstructionRecord;
using plan_format::kNoTensor;
using plan_format::kPanelColumns;
using plan_format::SectionKind;
using plan_format::SectionRecord;
using plan_format::TensorLayout;
using plan_format::TensorRecord;
using plan_format::TensorRole;

// Elements of all dimensions but a symbolic first one. nullopt over kElementsMax.
std::optional<int64_t> fixed_elements(const PlanTensor& tensor) {
  int64_t elements = 1;
  for (const int64_t dim : tensor.dims) {
    if (dim < 0) continue;
    if (dim > plan_format::kElementsMax / elements) return std::nullopt;
    elements *= dim;
  }
  return elements;
}

// REQUIRES: fixed_elements(tensor) has a value. Below 2^63: panels add at most 15 columns.
uint64_t expected_weight_bytes(const PlanTensor& tensor, uint64_t elements) {
  if (tensor.layout != TensorLayout::kPanels16) return elements * dtype_bytes(tensor.dtype);
  const uint64_t columns = align_up(static_cast<uint64_t>(tensor.dims[1]), kPanelColumns);
  return static_cast<uint64_t>(tensor.dims[0]) * columns * dtype_bytes(tensor.dtype);
}

}  // namespace

Status PlanParser::parse_tensors() {
  const auto bytes = section_bytes(*single_[2]);
  const size_t count = bytes.size() / sizeof(TensorRecord);
  PELTON_RETURN_IF_ERROR(
      expect_equal("tensors section bytes", count * sizeof(TensorRecord), bytes.size()));
  PELTON_RETURN_IF_ERROR(expect_at_most("tensor count", plan_format::kTensorsMax, count));
  plan_.tensors_.reserve(count);
  written_.assign(count, false);
  for (size_t index = 0; index < count; ++index) {
    const Status status = parse_tensor(index);
    if (!status.ok()) return within("tensor " + std::to_string(index), status);
  }
  return {};
}

Status PlanParser::parse_tensor(size_t index) {
  const auto record = load_record<TensorRecord>(section_bytes(*single_[2]), index);
  auto name = parse_name(record.name_offset, record.name_bytes);
  if (!name.ok()) return name.status();
  if (!tensor_names_.insert(name.value()).second) {
    return plan_fault("name", "a name of its own", "'" + name.value() + "' again");
  }
  const std::optional<DType> dtype = dtype_from_number(record.dtype);
  if (!dtype.has_value() || *dtype == DType::kBytes) {
    return plan_fault("dtype", "1 to 13", std::to_string(record.dtype));
  }
  PELTON_RETURN_IF_ERROR(
      expect_at_most("role", static_cast<uint64_t>(TensorRole::kWeight), record.role));
  PELTON_RETURN_IF_ERROR(
      expect_at_most("layout", static_cast<uint64_t>(TensorLayout::kPanels16), record.layout));
  PlanTensor tensor{.name = std::move(name).value(),
                    .role = static_cast<TensorRole>(record.role),
                    .layout = static_cast<TensorLayout>(record.layout),
                    .dtype = *dtype,
                    .dims = {}};
  PELTON_RETURN_IF_ERROR(check_dims(record, &tensor));
  PELTON_RETURN_IF_ERROR(parse_weight(record, &tensor));
  const auto number = static_cast<int32_t>(index);
  if (tensor.role == TensorRole::kInput) plan_.inputs_.push_back(number);
  if (tensor.role == TensorRole::kOutput) plan_.outputs_.push_back(number);
  written_[index] = tensor.role == TensorRole::kInput || tensor.role == TensorRole::kWeight;
  plan_.tensors_.push_back(std::move(tensor));
  return {};
}

Status PlanParser::check_dims(const TensorRecord& record, PlanTensor* tensor) const {
  if (record.rank < 1 || record.rank > plan_format::kDimsMax) {
    return plan_fault("rank", "1 to 8", std::to_string(record.rank));
  }
  tensor->dims.assign(record.dims, record.dims + record.rank);
  for (int axis = 0; axis < plan_format::kDimsMax; ++axis) {
    const int64_t dim = record.dims[axis];
    const bool batched = axis == 0 && tensor->role != TensorRole::kWeight;
    const std::string field = "dims[" + std::to_string(axis) + "]";
    if (axis >= record.rank) {
      if (dim != 0) return plan_fault(field, "0 beyond the rank", std::to_string(dim));
    } else if (batched) {
      if (dim == plan_format::kDimRows) continue;
      if (dim == plan_format::kDimTokens && plan_.ragged_) continue;
      return plan_fault(field, plan_.ragged_ ? "-1 (rows) or -2 (tokens)" : "-1 (rows)",
                        std::to_string(dim));
    } else if (dim < 1 || dim > plan_format::kDimMax) {
      return plan_fault(field, "1 to " + std::to_string(plan_format::kDimMax), std::to_string(dim));
    }
  }
  if (fixed_elements(*tensor).has_value()) return {};
  return plan_fault("dims", "at most " + std::to_string(plan_format::kElementsMax) + " elements",
                    dims_text(tensor->dims));
}

Status PlanParser::parse_weight(const TensorRecord& record, PlanTensor* tensor) const {
  if (tensor->role != TensorRole::kWeight) {
    PELTON_RETURN_IF_ERROR(expect_equal("layout of no weight", 0, record.layout));
    PELTON_RETURN_IF_ERROR(expect_equal("weight_section of no weight", 0, record.weight_section));
    PELTON_RETURN_IF_ERROR(expect_equal("weight_offset of no weight", 0, record.weight_offset));
    return expect_equal("weight_bytes of no weight", 0, record.weight_bytes);
  }
  if (tensor->layout == TensorLayout::kPanels16 &&
      (tensor->dims.size() != 2 || tensor->dtype != DType::kFp32)) {
    return plan_fault("panels layout", "FP32 [K, N]",
                      std::string(dtype_name(tensor->dtype)) + " " + dims_text(tensor->dims));
  }
  if (record.weight_section >= sections_.size() ||
      static_cast<SectionKind>(sections_[record.weight_section].kind) != SectionKind::kWeights) {
    return plan_fault("weight_section", "a weights section", std::to_string(record.weight_section));
  }
  const SectionRecord& section = sections_[record.weight_section];
  PELTON_RETURN_IF_ERROR(
      expect_equal("weight_bytes",
                   expected_weight_bytes(*tensor, static_cast<uint64_t>(*fixed_elements(*tensor))),
                   record.weight_bytes));
  if (record.weight_offset % plan_format::kWeightAlignment != 0) {
    return plan_fault("weight_offset", "a multiple of 64", std::to_string(record.weight_offset));
  }
  PELTON_RETURN_IF_ERROR(expect_at_most("weight_bytes", section.bytes, record.weight_bytes));
  PELTON_RETURN_IF_ERROR(
      expect_at_most("weight_offset", section.bytes - record.weight_bytes, record.weight_offset));
  tensor->weight = section_bytes(section).data() + record.weight_offset;
  tensor->weight_bytes = record.weight_bytes;
  return {};
}

Status PlanParser::parse_instructions() {
  const auto bytes = section_bytes(*single_[3]);
  const size_t count = bytes.size() / sizeof(InstructionRecord);
  PELTON_RETURN_IF_ERROR(
      expect_equal("instructions section bytes", count * sizeof(InstructionRecord), bytes.size()));
  PELTON_RETURN_IF_ERROR(expect_at_most("instruction count", plan_format::kInstructionsMax, count));
  plan_.instructions_.reserve(count);
  for (size_t index = 0; index < count; ++index) {
    const Status status = parse_instruction(index);
    if (status.ok()) continue;
    const auto record = load_record<InstructionRecord>(bytes, index);
    const std::string name(op_name(static_cast<plan_format::Op>(record.op)));
    return within("instruction " + std::to_string(index) + (name.empty() ? "" : " (" + name + ")"),
                  status);
  }
  return {};
}

Status PlanParser::parse_instruction(size_t index) {
  const auto record = load_record<InstructionRecord>(section_bytes(*single_[3]), index);
  PELTON_RETURN_IF_ERROR(expect_equal("reserved", 0, record.reserved));
  PELTON_RETURN_IF_ERROR(expect_equal("reserved2", 0, record.reserved2));
  PELTON_RETURN_IF_ERROR(check_operand_indices(record));
  const int32_t* inputs_end = record.tensors + record.input_count;
  PlanInstruction instruction{
      .op = static_cast<plan_format::Op>(record.op),
      .inputs = {record.tensors, inputs_end},
      .outputs = {inputs_end, inputs_end + record.output_count},
      .ints = {},
      .floats = {},
  };
  std::copy(std::begin(record.ints), std::end(record.ints), instruction.ints);
  std::copy(std::begin(record.floats), std::end(record.floats), instruction.floats);
  PELTON_RETURN_IF_ERROR(check_instruction(instruction, plan_.tensors_));
  PELTON_RETURN_IF_ERROR(check_flow(instruction));
  plan_.instructions_.push_back(std::move(instruction));
  return {};
}

Status PlanParser::check_operand_indices(const InstructionRecord& record) const {
  const int used = record.input_count + record.output_count;
  PELTON_RETURN_IF_ERROR(expect_at_most("input_count + output_count", plan_format::kOperandsMax,
                                        static_cast<uint64_t>(used)));
  for (int slot = 0; slot < plan_format::kOperandsMax; ++slot) {
    const int32_t index = record.tensors[slot];
    if (index == kNoTensor) continue;
    const bool known = index >= 0 && static_cast<size_t>(index) < plan_.tensors_.size();
    if (slot < used && known) continue;
    return plan_fault("tensors[" + std::to_string(slot) + "]",
                      slot < used ? "-1 or below " + std::to_string(plan_.tensors_.size()) : "-1",
                      std::to_string(index));
  }
  return {};
}

// What is read has been written before; what is written is written once and is no input or weight.
Status PlanParser::check_flow(const PlanInstruction& instruction) {
  for (const int32_t index : instruction.inputs) {
    if (index == kNoTensor || written_[static_cast<size_t>(index)]) continue;
    return plan_fault("operand", "a tensor written before",
                      "'" + plan_.tensors_[static_cast<size_t>(index)].name + "'");
  }
  for (const int32_t index : instruction.outputs) {
    const auto slot = static_cast<size_t>(index);
    if (written_[slot]) {
      return plan_fault("output", "a tensor not written before",
                        "'" + plan_.tensors_[slot].name + "'");
    }
    written_[slot] = true;
  }
  return {};
}

Status PlanParser::check_ends() const {
  for (size_t index = 0; index < written_.size(); ++index) {
    if (written_[index]) continue;
    return plan_fault("tensor " + std::to_string(index) + " ('" + plan_.tensors_[index].name + "')",
                      "one instruction that writes it", "none");
  }
  if (plan_.inputs_.empty()) return plan_fault("inputs", "at least 1", "0");
  if (plan_.outputs_.empty()) return plan_fault("outputs", "at least 1", "0");
  if (!plan_.ragged_) return {};
  const bool has_tokens =
      std::any_of(plan_.inputs_.begin(), plan_.inputs_.end(), [this](int32_t index) {
        return plan_.tensors_[static_cast<size_t>(index)].dims[0] == plan_format::kDimTokens;
      });
  return has_tokens ? Status() : plan_fault("inputs of a ragged plan", "one over tokens", "none");
}

}  // namespace pelton
