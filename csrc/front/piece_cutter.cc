#include "csrc/front/piece_cutter.h"

#include <algorithm>

namespace pelton {

PieceCutter::PieceCutter(const ServedModel& model, const BoundRequest& bound)
    : model_(model), bound_(bound) {}

void PieceCutter::next(std::span<std::byte* const> output_begins, Piece& piece) {
  const ServedModel::Options& options = model_.options();
  const bool is_ragged = !bound_.lengths.empty();
  const int64_t rows_max = std::min(bound_.row_count - row_, options.piece_rows_max);
  int64_t rows = rows_max;
  int64_t tokens = rows_max;
  if (is_ragged) {
    rows = tokens = 0;
    while (rows < rows_max) {
      const int64_t length = bound_.lengths[static_cast<size_t>(row_ + rows)];
      if (rows > 0 && tokens + length > options.piece_tokens_max) break;
      tokens += length;
      ++rows;
    }
  }
  piece.is_out = false;
  piece.ticket = 0;
  piece.inputs.resize(bound_.inputs.size());
  for (size_t i = 0; i < bound_.inputs.size(); ++i) {
    const int64_t offset = is_ragged ? token_ * static_cast<int64_t>(sizeof(int32_t))
                                     : row_ * model_.input_row_bytes(i);
    piece.inputs[i] = bound_.inputs[i] + offset;
  }
  piece.outputs.resize(output_begins.size());
  for (size_t i = 0; i < output_begins.size(); ++i) {
    std::byte* const begin = output_begins[i];
    piece.outputs[i] =
        begin == nullptr ? nullptr : begin + row_ * model_.output_row_bytes(static_cast<int>(i));
  }
  piece.view.row_count = rows;
  piece.view.token_count = tokens;
  piece.view.lengths = {};
  if (is_ragged) {
    piece.view.lengths =
        std::span(bound_.lengths).subspan(static_cast<size_t>(row_), static_cast<size_t>(rows));
  }
  piece.view.inputs = piece.inputs;
  piece.view.outputs = piece.outputs;
  row_ += rows;
  token_ += tokens;
}

}  // namespace pelton
