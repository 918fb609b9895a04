// How a batch is divided among the ranks of the team: pure functions of its shape.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pelton {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

// The part of [0, count) that `rank` of `ranks` takes, cut at multiples of `unit`; parts differ by
// at most one unit.
Range even_part(int64_t count, int64_t unit, int rank, int ranks);

// A GEMM's output cut into row_parts x column_parts rectangles, one per rank.
struct GemmSplit {
  int row_parts = 1;
  int column_parts = 1;
};
// The cut with the smallest largest rectangle; among equals the one with the most column parts:
// each rank then reads the fewest weights.
GemmSplit split_gemm(int64_t rows, int64_t columns, int ranks);

// Whole sequences to ranks: longest first to the least loaded (Graham 1969, "Bounds on
// Multiprocessing Timing Anomalies"). Fills `order` with the sequences, those of rank 0 first, and
// `rank_ends[r]` with the end of rank r's part of it. Returns the largest load over the mean load,
// >= 1. `loads` is scratch. No allocation once the vectors have grown.
double assign_sequences(std::span<const int32_t> lengths, int ranks, std::vector<int32_t>& order,
                        std::vector<int64_t>& rank_ends, std::vector<int64_t>& loads);

// The same for rows that all cost the same: in their order, as many to each rank.
double assign_evenly(int64_t row_count, int ranks, std::vector<int32_t>& order,
                     std::vector<int64_t>& rank_ends);

}  // namespace pelton
