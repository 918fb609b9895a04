// What can be done to a job without the loop's state: decoding and binding before it runs, encoding
// after. Pure but for the job and the memory given, so that the offload thread may do it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "csrc/front/job.h"
#include "csrc/wire/limits.h"

namespace pelton {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

// The versions of a model that are served, each once; the first is that of requests which name
// none. Empty: its requests are the other protocol's.
using ServedVersions = std::vector<std::shared_ptr<ServedModel>>;

// By the name that requests use. Immutable: changes make a new one.
using ModelTable = std::unordered_map<std::string, ServedVersions, TextHash, std::equal_to<>>;

// kModelNotFound for an unknown name or version. An empty version is the first. A model whose
// requests are the other protocol's is nullptr.
ProblemPtr find_model(const ModelTable& models, std::string_view name, std::string_view version,
                      std::shared_ptr<ServedModel>& model);

struct PrepareContext {
  const ModelTable& models;
  const DecodeLimits& limits;
  Nanos deadline_default = 0;
};
struct PrepareMemory {
  DecodeMemory decode;
  std::vector<AnswerTensor> answer;
};

// Decodes and binds; sets job.problem, or job.is_for_python.
void prepare(Job& job, const PrepareContext& context, PrepareMemory& memory);

// Encodes the outputs into job.reply_body and job.encoded; sets job.problem where the format cannot
// carry one. REQUIRES: the job ran.
void encode_answer(Job& job, PrepareMemory& memory);

}  // namespace pelton
