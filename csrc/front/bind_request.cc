#include "csrc/base/check.h"
#include "csrc/front/bind_dense.h"
#include "csrc/front/bind_encoder.h"
#include "csrc/front/bind_names.h"
#include "csrc/front/model_contract.h"

namespace pelton {
namespace {

// Entries of a vector that one request leaves to the next.
constexpr size_t kKeptEntriesMax = size_t{16} << 10;

void empty(std::vector<int32_t>& entries) {
  entries.clear();
  if (entries.capacity() > kKeptEntriesMax) entries.shrink_to_fit();
}

}  // namespace

void BoundRequest::clear() {
  row_count = 0;
  token_count = 0;
  empty(lengths);
  empty(ids);
  empty(types);
  inputs.clear();
  outputs.clear();
  truncated = 0;
}

ProblemPtr bind_infer(const ModelContract& contract, const InferRequest& request,
                      BoundRequest& bound) {
  PELTON_RETURN_IF_PROBLEM(check_tensors(contract, request.inputs));
  PELTON_RETURN_IF_PROBLEM(contract.encoder ? bind_encoder(contract, request, bound)
                                            : bind_dense(contract, request, bound));
  return bind_outputs(contract.outputs, request.outputs, bound.outputs);
}

ProblemPtr bind_texts(const ModelContract& contract, std::span<const std::string_view> texts,
                      std::optional<bool> truncate, BoundRequest& bound) {
  PELTON_CHECK(contract.encoder.has_value());
  PELTON_RETURN_IF_PROBLEM(
      bind_text_rows(*contract.encoder, texts, TextForm::kString, truncate, bound));
  bound.outputs.push_back(embedding_output(contract));
  return nullptr;
}

ProblemPtr bind_ids(const ModelContract& contract, std::span<const int32_t> ids,
                    std::span<const int32_t> lengths, BoundRequest& bound) {
  PELTON_CHECK(contract.encoder.has_value());
  PELTON_RETURN_IF_PROBLEM(bind_id_rows(*contract.encoder, ids, lengths, bound));
  bound.outputs.push_back(embedding_output(contract));
  return nullptr;
}

int embedding_output(const ModelContract& contract) {
  const TensorSpec* const spec = find_spec(contract.outputs, "embedding");
  return spec == nullptr ? 0 : static_cast<int>(spec - contract.outputs.data());
}

}  // namespace pelton
