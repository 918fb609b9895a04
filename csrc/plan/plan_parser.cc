#include "csrc/plan/plan_parser.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

#include "csrc/base/hash.h"
#include "csrc/plan/instruction_rules.h"
#include "csrc/plan/utf8.h"

namespace pelton {
namespace {

using plan_format::InstructionRecord;
using plan_format::kFormatVersion;
using plan_format::kNoTensor;
using plan_format::kPanelColumns;
using plan_format::PlanHeader;
using plan_format::SectionKind;
using plan_format::SectionRecord;
using plan_format::TensorLayout;
using plan_format::TensorRecord;
using plan_format::TensorRole;

constexpr size_t kSingleSections = 4;
constexpr const char* kSingleNames[kSingleSections] = {"metadata", "strings", "tensors",
                                                       "instructions"};

Status expect_equal(const std::string& field, uint64_t expected, uint64_t got) {
  if (expected == got) return {};
  return plan_fault(field, std::to_string(expected), std::to_string(got));
}

Status expect_at_most(const std::string& field, uint64_t most, uint64_t got) {
  if (got <= most) return {};
  return plan_fault(field, "at most " + std::to_string(most), std::to_string(got));
}

std::string hex(uint64_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t digit = 0; digit < 16; ++digit) text[15 - digit] = kDigits[(value >> 4 * digit) & 15];
  return text;
}

Status expect_checksum(const std::string& field, uint64_t expected,
                       std::span<const std::byte> bytes) {
  const uint64_t got = xxh64(bytes.data(), bytes.size());
  if (got == expected) return {};
  return plan_fault(field + " checksum", hex(expected), hex(got));
}

Status expect_zeros(const std::string& field, std::span<const std::byte> bytes) {
  for (size_t index = 0; index < bytes.size(); ++index) {
    if (bytes[index] == std::byte{0}) continue;
    return plan_fault(
        field, "zeros",
        std::to_string(std::to_integer<int>(bytes[index])) + " at byte " + std::to_string(index));
  }
  return {};
}

// REQUIRES: (index + 1) * sizeof(Record) <= bytes.size().
template <typename Record>
Record load_record(std::span<const std::byte> bytes, size_t index) {
  Record record;
  std::memcpy(&record, bytes.data() + index * sizeof(Record), sizeof(Record));
  return record;
}

// `alignment` is a power of two and `value` below 2^63.
uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// Puts what the error is about before it.
Status within(const std::string& place, const Status& status) {
  return Status(status.code(), place + ": " + std::string(status.message()));
}

std::string section_text(size_t index) { return "section " + std::to_string(index); }

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

Status PlanParser::parse() {
  PELTON_RETURN_IF_ERROR(parse_header());
  PELTON_RETURN_IF_ERROR(parse_section_table());
  PELTON_RETURN_IF_ERROR(parse_attachments());
  PELTON_RETURN_IF_ERROR(parse_metadata());
  PELTON_RETURN_IF_ERROR(parse_tensors());
  PELTON_RETURN_IF_ERROR(parse_instructions());
  return check_ends();
}

// The version comes before everything it may change, the checksum included.
Status PlanParser::parse_header() {
  if (file_.size() < sizeof(PlanHeader)) {
    return plan_fault("file size", "at least " + std::to_string(sizeof(PlanHeader)),
                      std::to_string(file_.size()));
  }
  header_ = load_record<PlanHeader>(file_, 0);
  if (std::memcmp(header_.magic, plan_format::kMagic, sizeof(header_.magic)) != 0) {
    return plan_fault("magic", "a Pelton plan", "other bytes: this is not a plan file");
  }
  if (header_.format_version != kFormatVersion) {
    return Status(StatusCode::kUnsupported,
                  "plan format version " + std::to_string(header_.format_version) +
                      ", this Pelton reads version " + std::to_string(kFormatVersion) +
                      ": recompile the model with `pelton compile`");
  }
  const size_t hashed = offsetof(PlanHeader, header_xxh64);
  PELTON_RETURN_IF_ERROR(expect_checksum("header", header_.header_xxh64, file_.first(hashed)));
  PELTON_RETURN_IF_ERROR(expect_equal("header_bytes", sizeof(PlanHeader), header_.header_bytes));
  PELTON_RETURN_IF_ERROR(expect_equal("file_bytes", file_.size(), header_.file_bytes));
  PELTON_RETURN_IF_ERROR(
      expect_equal("section_table_offset", sizeof(PlanHeader), header_.section_table_offset));
  PELTON_RETURN_IF_ERROR(
      expect_at_most("section_count", plan_format::kSectionsMax, header_.section_count));
  PELTON_RETURN_IF_ERROR(expect_at_most("batching", 1, header_.batching));
  plan_.ragged_ = header_.batching == 1;
  return expect_zeros("header reserved", std::as_bytes(std::span(header_.reserved)));
}

Status PlanParser::parse_section_table() {
  const uint64_t table_bytes = header_.section_count * uint64_t{sizeof(SectionRecord)};
  PELTON_RETURN_IF_ERROR(
      expect_at_most("section table bytes", file_.size() - sizeof(PlanHeader), table_bytes));
  const auto table = file_.subspan(sizeof(PlanHeader), table_bytes);
  PELTON_RETURN_IF_ERROR(expect_checksum("section table", header_.section_table_xxh64, table));
  sections_end_ = sizeof(PlanHeader) + table_bytes;
  sections_.reserve(header_.section_count);
  for (size_t index = 0; index < header_.section_count; ++index) {
    sections_.push_back(load_record<SectionRecord>(table, index));
    const Status status = check_section(index);
    if (!status.ok()) return within(section_text(index), status);
  }
  for (size_t kind = 0; kind < kSingleSections; ++kind) {
    if (single_[kind] == nullptr) return plan_fault(kSingleNames[kind], "one section", "none");
  }
  return expect_equal("file_bytes", sections_end_, file_.size());
}

Status PlanParser::check_section(size_t index) {
  const SectionRecord& section = sections_[index];
  if (section.kind < 1 || section.kind > static_cast<uint32_t>(SectionKind::kAttachment)) {
    return plan_fault("kind", "1 to 6", std::to_string(section.kind));
  }
  const auto kind = static_cast<SectionKind>(section.kind);
  const uint64_t alignment = kind == SectionKind::kWeights ? plan_format::kWeightSectionAlignment
                                                           : plan_format::kSectionAlignment;
  const uint64_t begin = align_up(sections_end_, alignment);
  PELTON_RETURN_IF_ERROR(expect_equal("reserved", 0, section.reserved));
  PELTON_RETURN_IF_ERROR(expect_equal("offset", begin, section.offset));
  PELTON_RETURN_IF_ERROR(expect_at_most("offset", file_.size(), section.offset));
  PELTON_RETURN_IF_ERROR(expect_at_most("bytes", file_.size() - begin, section.bytes));
  if (kind != SectionKind::kAttachment) {
    PELTON_RETURN_IF_ERROR(expect_equal("name_offset", 0, section.name_offset));
    PELTON_RETURN_IF_ERROR(expect_equal("name_bytes", 0, section.name_bytes));
  }
  PELTON_RETURN_IF_ERROR(
      expect_zeros("gap before it", file_.subspan(sections_end_, begin - sections_end_)));
  sections_end_ = begin + section.bytes;
  return keep_section(index);
}

// Weight sections are verified last and only up to a limit; the others here.
Status PlanParser::keep_section(size_t index) {
  const SectionRecord& section = sections_[index];
  if (static_cast<SectionKind>(section.kind) == SectionKind::kWeights) {
    plan_.weight_sections_.push_back(section);
    plan_.weight_bytes_ += section.bytes;
    return {};
  }
  PELTON_RETURN_IF_ERROR(expect_checksum("its bytes", section.xxh64, section_bytes(section)));
  const size_t single = section.kind - 1;
  if (single >= kSingleSections) return {};
  if (single_[single] != nullptr) return plan_fault(kSingleNames[single], "one section", "two");
  single_[single] = &section;  // stable: the table was reserved whole
  return {};
}

Status PlanParser::parse_attachments() {
  std::unordered_set<std::string> names;
  for (size_t index = 0; index < sections_.size(); ++index) {
    const SectionRecord& section = sections_[index];
    if (static_cast<SectionKind>(section.kind) != SectionKind::kAttachment) continue;
    auto name = parse_name(section.name_offset, section.name_bytes);
    if (!name.ok()) return within(section_text(index), name.status());
    if (!names.insert(name.value()).second) {
      return plan_fault(section_text(index) + ": name", "a name of its own",
                        "'" + name.value() + "' again");
    }
    plan_.attachments_.push_back({std::move(name).value(), section_bytes(section)});
  }
  return {};
}

Status PlanParser::parse_metadata() {
  const auto bytes = section_bytes(*single_[0]);
  PELTON_RETURN_IF_ERROR(
      expect_at_most("metadata bytes", plan_format::kMetadataBytesMax, bytes.size()));
  plan_.metadata_ = std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t valid = utf8_prefix_bytes(plan_.metadata_);
  if (valid == bytes.size()) return {};
  return plan_fault("metadata", "UTF-8", "other bytes at " + std::to_string(valid));
}

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

Result<std::string> PlanParser::parse_name(uint32_t offset, uint32_t bytes) const {
  const auto strings = section_bytes(*single_[1]);
  if (bytes < 1 || bytes > plan_format::kNameBytesMax) {
    return plan_fault("name_bytes", "1 to " + std::to_string(plan_format::kNameBytesMax),
                      std::to_string(bytes));
  }
  if (uint64_t{offset} + bytes > strings.size()) {
    return plan_fault("name_offset + name_bytes", "at most " + std::to_string(strings.size()),
                      std::to_string(uint64_t{offset} + bytes));
  }
  const std::string_view name(reinterpret_cast<const char*>(strings.data()) + offset, bytes);
  if (utf8_prefix_bytes(name) != name.size() || name.find('\0') != std::string_view::npos) {
    return plan_fault("name", "UTF-8 without NUL", "other bytes");
  }
  return std::string(name);
}

std::span<const std::byte> PlanParser::section_bytes(const SectionRecord& section) const {
  return file_.subspan(section.offset, section.bytes);
}

Status PlanParser::verify_weights(const Plan& plan, uint64_t bytes_max) {
  uint64_t bytes_left = bytes_max;
  for (const SectionRecord& section : plan.weight_sections_) {
    if (section.bytes > bytes_left) return {};
    bytes_left -= section.bytes;
    PELTON_RETURN_IF_ERROR(expect_checksum("weights at byte " + std::to_string(section.offset),
                                           section.xxh64,
                                           {plan.mapping_ + section.offset, section.bytes}));
  }
  return {};
}

}  // namespace pelton
