// The register tile of the avx512 variants.
#pragma once

namespace {

// 9 rows x 3 panels: 27 accumulators, 3 weight rows and 1 broadcast of the 32 registers. 4 rows and
// fewer take 6 panels: accumulators enough to hide the latency of the multiply-add, and more bytes
// of weights in flight.
constexpr int kTileRows = 9;
constexpr int tile_panels(int rows) { return rows <= 4 ? 6 : 3; }

}  // namespace
