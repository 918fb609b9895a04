// ModelContract: what the request path knows of a model, and a request bound to it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/text/word_piece.h"

namespace pelton {

// A model that takes token ids, and texts where it has a tokenizer.
struct EncoderContract {
  int64_t positions_max = 0;    // tokens of a row
  int64_t vocabulary_size = 0;  // ids are below it
  int64_t token_types = 1;      // types are below it
  int ids_index = 0;            // of input_ids among the plan's inputs
  int types_index = -1;         // of token_type_ids; negative: the plan does not take them
  std::shared_ptr<const WordPiece> tokenizer;  // nullptr: texts are not taken here
  int64_t tokens_max = 0;                      // of a text, special tokens included
  int64_t text_bytes_max = 0;
  bool truncate = false;  // what becomes of texts over tokens_max when a request does not say
};

struct ModelContract {
  std::string name;
  std::string version;
  std::vector<TensorSpec> inputs;          // as metadata shows them
  std::vector<TensorSpec> alternatives;    // inputs that may come in their place
  std::vector<TensorSpec> outputs;         // axis 0 is rows
  std::optional<EncoderContract> encoder;  // nullopt: a dense model
  bool allow_non_finite = false;
};

// A request's tensors as the engine takes them. Pointers and spans point into the request's body,
// its scratch, or the vectors here. Meant to be used again.
struct BoundRequest {
  int64_t row_count = 0;
  int64_t token_count = 0;       // dense: == row_count
  std::vector<int32_t> lengths;  // ragged: of each row; dense: empty
  std::vector<int32_t> ids;      // memory of ragged inputs
  std::vector<int32_t> types;
  std::vector<const std::byte*> inputs;  // one per input of the plan, in its order
  std::vector<int> outputs;              // wanted ones: indices into the contract's outputs
  int64_t truncated = 0;                 // texts that were cut

  // Keeps memory for the next request, at most 64 KiB of each vector.
  void clear();
};

// Binds a decoded inference request: names, datatypes, shapes, finite values, ids, masks, wanted
// outputs. The oracle is what pyserver/pelton/http/_infer.py and backends/ do with the same
// request: same problems. No rows at all are legal. REQUIRES: `bound` is clear; the request's views
// stay valid while `bound` is used; a contract whose inputs have `text` has a tokenizer.
ProblemPtr bind_infer(const ModelContract& contract, const InferRequest& request,
                      BoundRequest& bound);

// Binds texts; the wanted output is embedding_output(). kInvalidInput, kPayloadTooLarge
// (text_bytes_max). REQUIRES: the contract has a tokenizer; `texts` are UTF-8; `bound` is clear.
ProblemPtr bind_texts(const ModelContract& contract, std::span<const std::string_view> texts,
                      std::optional<bool> truncate, BoundRequest& bound);

// Binds the token ids of lengths.size() rows, one after the other, likewise. REQUIRES: an encoder;
// the lengths are of these ids; `bound` is clear.
ProblemPtr bind_ids(const ModelContract& contract, std::span<const int32_t> ids,
                    std::span<const int32_t> lengths, BoundRequest& bound);

// Index of the output that holds embeddings: `embedding`, else the first.
int embedding_output(const ModelContract& contract);

}  // namespace pelton
