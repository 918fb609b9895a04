// ServedModel: a model as the request path serves it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "csrc/control/model_gates.h"
#include "csrc/front/model_contract.h"
#include "csrc/serve/engine.h"

namespace pelton {

// Immutable but for its gates, which belong to the loop's thread. Outlives its last request.
class ServedModel {
 public:
  struct Options {
    ModelContract contract;
    Engine* engine = nullptr;  // outlives the model
    ModelId id = 0;
    std::shared_ptr<const Runner> runner;
    // What one piece of a request may hold: as much as a batch.
    int64_t piece_rows_max = 1;
    int64_t piece_tokens_max = 1;
    // Pieces of one request that are with the engine at a time: one runs, one waits, and the rest
    // of the queue is left to the other callers.
    int pieces_in_flight_max = 2;
    ModelGates::Options gates;
  };
  explicit ServedModel(Options options);

  const ModelContract& contract() const { return options_.contract; }
  const Options& options() const { return options_; }
  ModelGates& gates() { return gates_; }
  // Of one row of an input of a dense model.
  int64_t input_row_bytes(size_t input) const { return input_row_bytes_[input]; }
  // Of one row of an output.
  int64_t output_row_bytes(int output) const {
    return output_row_bytes_[static_cast<size_t>(output)];
  }
  // The output that holds embeddings.
  int embedding_output() const { return pelton::embedding_output(options_.contract); }
  // Whether texts can be embedded, here or on the Python path.
  bool is_text_encoder() const { return is_text_encoder_; }
  bool takes_texts_here() const {
    return options_.contract.encoder && options_.contract.encoder->tokenizer;
  }

 private:
  const Options options_;
  std::vector<int64_t> input_row_bytes_;
  std::vector<int64_t> output_row_bytes_;
  bool is_text_encoder_ = false;
  ModelGates gates_;
};

}  // namespace pelton
