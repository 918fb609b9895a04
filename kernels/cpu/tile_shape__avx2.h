// The register tile of the avx2 variants.
#pragma once

namespace {

// 6 rows x 1 panel: 12 accumulators, 2 weight vectors and 1 broadcast of the 16 registers. 3 rows
// take 2 panels, 1 takes 3.
constexpr int kTileRows = 6;
constexpr int tile_panels(int rows) { return rows <= 1 ? 3 : rows <= 3 ? 2 : 1; }

}  // namespace
