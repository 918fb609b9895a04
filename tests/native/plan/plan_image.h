// A small valid plan as bytes, to be bent: records are reached in place, seal() puts the checksums
// right again, open() gives the bytes to Plan::open. For tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "csrc/base/status.h"
#include "csrc/plan/format.h"
#include "csrc/plan/plan.h"

namespace pelton::plan_test {

// Tensor indices of encoder_image(), by what they are.
enum EncoderTensor : int32_t {
  kIds,
  kTypeIds,
  kWords,
  kPositions,
  kTypes,
  kSum,
  kGamma,
  kBeta,
  kNormed,
  kQkvWeight,
  kQkvBias,
  kQkv,
  kContext,
  kOutWeight,
  kOutBias,
  kAttended,
  kActive,
  kAdded,
  kOne,
  kScaled,
  kPooled,
  kEmbedding,
};

// Instruction indices of encoder_image().
enum EncoderInstruction : size_t {
  kEmbed,
  kNorm,
  kQkvGemm,
  kAttend,
  kOutGemm,
  kActivate,
  kAdd,
  kScale,
  kPool,
  kNormalize,
};

// Section indices of every image.
enum ImageSection : size_t { kMetadata, kStrings, kTensors, kInstructions, kAttachment, kWeights };

class PlanImage {
 public:
  struct Tensor {
    std::string name;
    plan_format::TensorRole role;
    std::vector<int64_t> dims;
    DType dtype = DType::kFp32;
    plan_format::TensorLayout layout = plan_format::TensorLayout::kRowMajor;
  };
  struct Instruction {
    plan_format::Op op;
    std::vector<int32_t> inputs;
    int32_t output;
    int64_t attribute = 0;
    double number = 0;
  };

  PlanImage(bool ragged, const std::vector<Tensor>& tensors,
            const std::vector<Instruction>& instructions);

  plan_format::PlanHeader& header() { return at<plan_format::PlanHeader>(0, 0); }
  plan_format::SectionRecord& section(size_t index) {
    return at<plan_format::SectionRecord>(sizeof(plan_format::PlanHeader), index);
  }
  plan_format::TensorRecord& tensor(size_t index) {
    return at<plan_format::TensorRecord>(section(kTensors).offset, index);
  }
  plan_format::InstructionRecord& instruction(size_t index) {
    return at<plan_format::InstructionRecord>(section(kInstructions).offset, index);
  }
  std::vector<std::byte>& bytes() { return bytes_; }

  // Recomputes every checksum whose bytes lie inside the file.
  void seal();

 private:
  template <typename Record>
  Record& at(uint64_t offset, size_t index) {
    return *reinterpret_cast<Record*>(bytes_.data() + offset + index * sizeof(Record));
  }
  size_t add_section(plan_format::SectionKind kind, const std::vector<std::byte>& data);

  std::vector<std::byte> bytes_;
};

// Every op once, over tiny sizes: vocabulary 5, positions 6, types 2, hidden 4, heads 2.
PlanImage encoder_image();
// y = relu(x W + b) over [rows, 3] -> [rows, 5].
PlanImage dense_image();

// A file in memory that can be opened by path; one per test.
class MemoryFile {
 public:
  MemoryFile();
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void write(const std::vector<std::byte>& bytes);
  Result<std::shared_ptr<const Plan>> open(uint64_t verify_weights_bytes_max = uint64_t{1}
                                                                               << 30) const;

 private:
  int descriptor_;
};

}  // namespace pelton::plan_test
