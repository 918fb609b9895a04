// The codec-neutral tensors of requests and of batches of requests. Views never own: the submitter
// keeps every buffer alive until its completion has been delivered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pelton {

// One request's rows. Dense models: every input and output holds `row_count` rows, row-major.
// Ragged models: row i is a sequence of lengths[i] >= 1 tokens; inputs and outputs whose first
// dimension is tokens hold `token_count` of them, concatenated without padding. Pointers need not
// be aligned beyond one byte.
struct RequestView {
  int64_t row_count = 0;
  int64_t token_count = 0;                   // ragged: sum of lengths; dense: == row_count
  std::span<const int32_t> lengths;          // ragged: row_count entries; dense: empty
  std::span<const std::byte* const> inputs;  // one per input of the model, in the model's order
  std::span<std::byte* const> outputs;       // one per output; nullptr = this output is not wanted
};

// Rows of several requests that run together. Totals are the sums over `requests`.
struct BatchView {
  std::span<const RequestView* const> requests;
  int64_t row_count = 0;
  int64_t token_count = 0;
};

}  // namespace pelton
