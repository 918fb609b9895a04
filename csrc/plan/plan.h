// Plan: a compiled model, memory-mapped read-only and validated whole before it is handed out:
// every rule of format.h holds for what the accessors return, so the executor checks none of them
// again. What a plan cannot promise is the values of a request: ids must be checked against the
// embedding tables' dims[0], and a sequence's length against the position table's.
// Immutable after open(); safe to share between threads; weight pages are shared by every process
// that maps the same file. The file must not be changed in place while it is mapped (plans are
// written under another name and renamed).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/dtype.h"
#include "csrc/base/status.h"
#include "csrc/plan/format.h"

namespace pelton {

struct PlanTensor {
  std::string name;
  plan_format::TensorRole role;
  plan_format::TensorLayout layout;
  DType dtype;
  std::vector<int64_t> dims;          // kDimRows or kDimTokens as dims[0]; every other one >= 1
  const std::byte* weight = nullptr;  // weights only: 64-byte aligned, in the mapping
  uint64_t weight_bytes = 0;
};

struct PlanInstruction {
  plan_format::Op op;
  std::vector<int32_t> inputs;  // kNoTensor where absent
  std::vector<int32_t> outputs;
  int64_t ints[6];
  double floats[2];
};

struct PlanAttachment {
  std::string name;
  std::span<const std::byte> bytes;
};

class Plan {
 public:
  struct OpenOptions {
    // Weight sections, in file order, are checked against their checksums at open while they
    // are no more than this many bytes in all.
    uint64_t verify_weights_bytes_max = uint64_t{1} << 30;
  };
  // Maps and validates `path`. Errors: kNotFound (cannot be opened), kCorruptPlan (names the field,
  // what was expected and what came), kUnsupported (another format version), kOutOfMemory (the
  // address space or memory for the tables).
  static Result<std::shared_ptr<const Plan>> open(const std::string& path,
                                                  const OpenOptions& options);
  // The checksums of all weight sections.
  Status verify_weights() const;

  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool ragged() const { return ragged_; }
  std::string_view metadata() const { return metadata_; }
  std::span<const PlanTensor> tensors() const { return tensors_; }
  std::span<const PlanInstruction> instructions() const { return instructions_; }
  std::span<const PlanAttachment> attachments() const { return attachments_; }
  std::span<const int32_t> inputs() const { return inputs_; }  // tensor indices, in file order
  std::span<const int32_t> outputs() const { return outputs_; }
  uint64_t file_bytes() const { return file_bytes_; }
  uint64_t weight_bytes() const { return weight_bytes_; }

 private:
  friend class PlanParser;
  Plan() = default;

  Status map(const std::string& path);

  const std::byte* mapping_ = nullptr;
  uint64_t file_bytes_ = 0;
  uint64_t weight_bytes_ = 0;
  bool ragged_ = false;
  std::string_view metadata_;
  std::vector<PlanTensor> tensors_;
  std::vector<PlanInstruction> instructions_;
  std::vector<PlanAttachment> attachments_;
  std::vector<int32_t> inputs_;
  std::vector<int32_t> outputs_;
  std::vector<plan_format::SectionRecord> weight_sections_;
  std::string path_;
};

}  // namespace pelton
