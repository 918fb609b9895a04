// The register tile of the generic variants.
#pragma once

namespace {

// 2 rows x 1 panel: 8 accumulators of 4 floats, 4 weight vectors, a broadcast and a product of the
// 16 registers of SSE2.
constexpr int kTileRows = 2;
constexpr int tile_panels(int) { return 1; }

}  // namespace
