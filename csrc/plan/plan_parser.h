// PlanParser: checks a mapped plan file against format.h and fills in the Plan. Internal to plan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "csrc/base/status.h"
#include "csrc/plan/plan.h"

namespace pelton {

// Not thread-safe; use once. REQUIRES: `plan` is mapped and outlives the parser.
class PlanParser {
 public:
  explicit PlanParser(Plan* plan) : plan_(*plan), file_(plan->mapping_, plan->file_bytes_) {}

  // Everything but the checksums of weight sections.
  Status parse();
  // Weight sections in file order while they are no more than `bytes_max` in all.
  static Status verify_weights(const Plan& plan, uint64_t bytes_max);

 private:
  // plan_parser.cc
  Status parse_header();
  Status parse_section_table();
  Status check_section(size_t index);
  Status keep_section(size_t index);
  Status parse_attachments();
  Status parse_metadata();
  Result<std::string> parse_name(uint32_t offset, uint32_t bytes) const;
  std::span<const std::byte> section_bytes(const plan_format::SectionRecord& section) const;
  // plan_tables.cc
  Status parse_tensors();
  Status parse_tensor(size_t index);
  Status check_dims(const plan_format::TensorRecord& record, PlanTensor* tensor) const;
  Status parse_weight(const plan_format::TensorRecord& record, PlanTensor* tensor) const;
  Status parse_instructions();
  Status parse_instruction(size_t index);
  Status check_operand_indices(const plan_format::InstructionRecord& record) const;
  Status check_flow(const PlanInstruction& instruction);
  Status check_ends() const;

  Plan& plan_;
  std::span<const std::byte> file_;
  plan_format::PlanHeader header_{};
  std::vector<plan_format::SectionRecord> sections_;
  uint64_t sections_end_ = 0;
  // The sections of which there is exactly one, by kind - 1.
  const plan_format::SectionRecord* single_[4] = {};
  std::unordered_set<std::string> tensor_names_;
  std::vector<bool> written_;  // per tensor: may be read by the next instruction
};

}  // namespace pelton
