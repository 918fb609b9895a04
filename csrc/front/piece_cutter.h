// PieceCutter: a bound request in pieces that fill a batch each, in the order of its rows. A row of
// more tokens than a piece may hold is a piece of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "csrc/front/job.h"

namespace pelton {

// Lives while one request is cut.
class PieceCutter {
 public:
  PieceCutter(const ServedModel& model, const BoundRequest& bound);
  bool is_done() const { return row_ == bound_.row_count; }
  // Fills the next piece. `output_begins`: one per output of the model, nullptr for one that is not
  // wanted. REQUIRES: !is_done().
  void next(std::span<std::byte* const> output_begins, Piece& piece);

 private:
  const ServedModel& model_;
  const BoundRequest& bound_;
  int64_t row_ = 0;
  int64_t token_ = 0;
};

}  // namespace pelton
