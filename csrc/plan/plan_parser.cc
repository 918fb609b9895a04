// PlanParser's first half: header, sections, names.
#include "csrc/plan/plan_parser.h"

#include <cstddef>
#include <cstring>
#include <utility>

#include "csrc/plan/checks.h"
#include "csrc/plan/utf8.h"

namespace pelton {
namespace {

using plan_format::kFormatVersion;
using plan_format::PlanHeader;
using plan_format::SectionKind;
using plan_format::SectionRecord;

constexpr size_t kSingleSections = 4;
constexpr const char* kSingleNames[kSingleSections] = {"metadata", "strings", "tensors",
                                                       "instructions"};

std::string section_text(size_t index) { return "section " + std::to_string(index); }

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
