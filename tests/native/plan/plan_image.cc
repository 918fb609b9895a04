#include "tests/native/plan/plan_image.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <span>

#include "csrc/base/check.h"
#include "csrc/base/hash.h"

namespace pelton::plan_test {
namespace {

using plan_format::InstructionRecord;
using plan_format::kDimRows;
using plan_format::kDimTokens;
using plan_format::kNoTensor;
using plan_format::Op;
using plan_format::PlanHeader;
using plan_format::SectionKind;
using plan_format::SectionRecord;
using plan_format::TensorLayout;
using plan_format::TensorRecord;
using plan_format::TensorRole;

constexpr size_t kSectionCount = 6;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

template <typename Record>
void append(std::vector<std::byte>* bytes, const Record& record) {
  const auto view = std::as_bytes(std::span(&record, 1));
  bytes->insert(bytes->end(), view.begin(), view.end());
}

uint64_t weight_bytes(const PlanImage::Tensor& tensor) {
  int64_t elements = 1;
  for (const int64_t dim : tensor.dims) elements *= dim;
  if (tensor.layout == TensorLayout::kPanels16) {
    elements = tensor.dims[0] * ((tensor.dims[1] + 15) / 16 * 16);
  }
  return static_cast<uint64_t>(elements) * dtype_bytes(tensor.dtype);
}

// Appends the weight's values and says where they are.
void place_weight(const PlanImage::Tensor& tensor, TensorRecord* record,
                  std::vector<std::byte>* weights) {
  weights->resize((weights->size() + 63) / 64 * 64);
  record->weight_section = kWeights;
  record->weight_offset = weights->size();
  record->weight_bytes = weight_bytes(tensor);
  for (uint64_t at = 0; at < record->weight_bytes; at += sizeof(float)) {
    append(weights, 0.25F * static_cast<float>(at % 7) - 0.5F);
  }
}

TensorRecord tensor_record(const PlanImage::Tensor& tensor, std::string* strings,
                           std::vector<std::byte>* weights) {
  TensorRecord record{};
  record.name_offset = static_cast<uint32_t>(strings->size());
  record.name_bytes = static_cast<uint32_t>(tensor.name.size());
  *strings += tensor.name;
  record.role = static_cast<uint8_t>(tensor.role);
  record.dtype = static_cast<uint8_t>(tensor.dtype);
  record.rank = static_cast<uint8_t>(tensor.dims.size());
  record.layout = static_cast<uint8_t>(tensor.layout);
  for (size_t axis = 0; axis < tensor.dims.size(); ++axis) record.dims[axis] = tensor.dims[axis];
  if (tensor.role == TensorRole::kWeight) place_weight(tensor, &record, weights);
  return record;
}

InstructionRecord instruction_record(const PlanImage::Instruction& instruction) {
  InstructionRecord record{};
  record.op = static_cast<uint16_t>(instruction.op);
  record.input_count = static_cast<uint8_t>(instruction.inputs.size());
  record.output_count = 1;
  for (int32_t& slot : record.tensors) slot = kNoTensor;
  for (size_t slot = 0; slot < instruction.inputs.size(); ++slot) {
    record.tensors[slot] = instruction.inputs[slot];
  }
  record.tensors[instruction.inputs.size()] = instruction.output;
  record.ints[0] = instruction.attribute;
  record.floats[0] = instruction.number;
  return record;
}

}  // namespace

PlanImage::PlanImage(bool ragged, const std::vector<Tensor>& tensors,
                     const std::vector<Instruction>& instructions)
    : bytes_(sizeof(PlanHeader)) {
  std::string strings = "labels.txt";
  std::vector<std::byte> weights, tensor_bytes, instruction_bytes;
  for (const Tensor& tensor : tensors) {
    append(&tensor_bytes, tensor_record(tensor, &strings, &weights));
  }
  for (const Instruction& instruction : instructions) {
    append(&instruction_bytes, instruction_record(instruction));
  }
  bytes_.resize(sizeof(PlanHeader) + kSectionCount * sizeof(SectionRecord));
  add_section(SectionKind::kMetadata, bytes_of(R"({"name":"tiny"})"));
  add_section(SectionKind::kStrings, bytes_of(strings));
  add_section(SectionKind::kTensors, tensor_bytes);
  add_section(SectionKind::kInstructions, instruction_bytes);
  const size_t attachment = add_section(SectionKind::kAttachment, bytes_of("no\nyes\n"));
  section(attachment).name_bytes = 10;
  add_section(SectionKind::kWeights, weights);
  std::memcpy(header().magic, plan_format::kMagic, sizeof(header().magic));
  header().format_version = plan_format::kFormatVersion;
  header().header_bytes = sizeof(PlanHeader);
  header().file_bytes = bytes_.size();
  header().section_table_offset = sizeof(PlanHeader);
  header().batching = ragged ? 1 : 0;
  seal();
}

size_t PlanImage::add_section(SectionKind kind, const std::vector<std::byte>& data) {
  const size_t alignment = kind == SectionKind::kWeights ? 4096 : 64;
  bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
  const size_t index = header().section_count++;
  section(index).kind = static_cast<uint32_t>(kind);
  section(index).offset = bytes_.size();
  section(index).bytes = data.size();
  bytes_.insert(bytes_.end(), data.begin(), data.end());
  return index;
}

void PlanImage::seal() {
  for (size_t index = 0; index < kSectionCount; ++index) {
    SectionRecord& record = section(index);
    if (record.offset > bytes_.size() || record.bytes > bytes_.size() - record.offset) continue;
    record.xxh64 = xxh64(bytes_.data() + record.offset, record.bytes);
  }
  const uint64_t table_bytes = uint64_t{header().section_count} * sizeof(SectionRecord);
  if (table_bytes <= bytes_.size() - sizeof(PlanHeader)) {
    header().section_table_xxh64 = xxh64(bytes_.data() + sizeof(PlanHeader), table_bytes);
  }
  header().header_xxh64 = xxh64(bytes_.data(), offsetof(PlanHeader, header_xxh64));
}

PlanImage encoder_image() {
  constexpr auto kInput = TensorRole::kInput;
  constexpr auto kWeight = TensorRole::kWeight;
  constexpr auto kMiddle = TensorRole::kIntermediate;
  constexpr auto kPanels = TensorLayout::kPanels16;
  const std::vector<PlanImage::Tensor> tensors = {
      {"ids", kInput, {kDimTokens}, DType::kInt32},
      {"type_ids", kInput, {kDimTokens}, DType::kInt32},
      {"words", kWeight, {5, 4}},
      {"positions", kWeight, {6, 4}},
      {"types", kWeight, {2, 4}},
      {"sum", kMiddle, {kDimTokens, 4}},
      {"gamma", kWeight, {4}},
      {"beta", kWeight, {4}},
      {"normed", kMiddle, {kDimTokens, 4}},
      {"qkv_weight", kWeight, {4, 12}, DType::kFp32, kPanels},
      {"qkv_bias", kWeight, {12}},
      {"qkv", kMiddle, {kDimTokens, 12}},
      {"context", kMiddle, {kDimTokens, 4}},
      {"out_weight", kWeight, {4, 4}, DType::kFp32, kPanels},
      {"out_bias", kWeight, {4}},
      {"attended", kMiddle, {kDimTokens, 4}},
      {"active", kMiddle, {kDimTokens, 4}},
      {"added", kMiddle, {kDimTokens, 4}},
      {"one", kWeight, {1}},
      {"scaled", kMiddle, {kDimTokens, 4}},
      {"pooled", kMiddle, {kDimRows, 4}},
      {"embedding", TensorRole::kOutput, {kDimRows, 4}},
  };
  const std::vector<PlanImage::Instruction> instructions = {
      {Op::kEmbedding, {kIds, kWords, kPositions, kTypes, kTypeIds}, kSum, 1},
      {Op::kLayerNorm, {kSum, kGamma, kBeta}, kNormed, 0, 1e-12},
      {Op::kGemm, {kNormed, kQkvWeight, kQkvBias, kNoTensor}, kQkv},
      {Op::kRaggedAttention, {kQkv}, kContext, 2, 0.5},
      {Op::kGemm, {kContext, kOutWeight, kOutBias, kNormed}, kAttended},
      {Op::kActivation, {kAttended}, kActive, 2},
      {Op::kBinary, {kActive, kNormed}, kAdded, 0},
      {Op::kBinary, {kAdded, kOne}, kScaled, 2},
      {Op::kPool, {kScaled}, kPooled, 0},
      {Op::kL2Normalize, {kPooled}, kEmbedding, 0, 1e-12},
  };
  return PlanImage(true, tensors, instructions);
}

PlanImage dense_image() {
  const std::vector<PlanImage::Tensor> tensors = {
      {"x", TensorRole::kInput, {kDimRows, 3}},
      {"weight", TensorRole::kWeight, {3, 5}, DType::kFp32, TensorLayout::kPanels16},
      {"bias", TensorRole::kWeight, {5}},
      {"y", TensorRole::kOutput, {kDimRows, 5}},
  };
  return PlanImage(false, tensors, {{Op::kGemm, {0, 1, 2, kNoTensor}, 3, 1}});
}

MemoryFile::MemoryFile() : descriptor_(::memfd_create("plan", MFD_CLOEXEC)) {
  PELTON_CHECK(descriptor_ >= 0);
}

MemoryFile::~MemoryFile() { ::close(descriptor_); }

void MemoryFile::write(const std::vector<std::byte>& bytes) {
  PELTON_CHECK(::ftruncate(descriptor_, static_cast<off_t>(bytes.size())) == 0);
  const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), 0);
  PELTON_CHECK(written == static_cast<ssize_t>(bytes.size()));
}

Result<std::shared_ptr<const Plan>> MemoryFile::open(uint64_t verify_weights_bytes_max) const {
  return Plan::open("/proc/self/fd/" + std::to_string(descriptor_), {verify_weights_bytes_max});
}

}  // namespace pelton::plan_test
