// The two loops of peak.h over one vector. Included after vec__<isa>.h and tile_shape__<isa>.h; no
// standard containers: the code may use wider instructions than the rest of the program.
#pragma once

#include <cstdint>

namespace {

constexpr int kTileVectors = tile_panels(kTileRows) * 16 / Vec::kWidth;
// As many accumulators as the tile has, and enough to hide the latency of a multiply and an add.
constexpr int kChains = kTileRows * kTileVectors > 12 ? kTileRows* kTileVectors : 12;
constexpr int64_t kRegistersMacs = kChains * Vec::kWidth;

// Every step is one multiply-add of each chain: x -> x / 2 + 1, which stays near 2.
inline float registers_loop(int64_t steps) {
  Vec::F x[kChains];
#pragma GCC unroll 32
  for (int i = 0; i < kChains; ++i) x[i] = Vec::set(static_cast<float>(i));
  const Vec::F half = Vec::set(0.5f);
  const Vec::F one = Vec::set(1.0f);
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) x[i] = Vec::fma(x[i], half, one);
  }
  Vec::F total = Vec::zero();
#pragma GCC unroll 32
  for (int i = 0; i < kChains; ++i) total = Vec::add(total, x[i]);
  return Vec::sum(total);
}

constexpr int64_t kTileDepth = 64;  // A and B together 14 KiB at most: they stay in L1
constexpr int64_t kTileMacs = kTileDepth * kTileRows * kTileVectors * Vec::kWidth;

struct TileOperands {
  alignas(64) float a[kTileDepth * kTileRows];
  alignas(64) float b[kTileDepth * kTileVectors * Vec::kWidth];
};

// Every step is the product of kTileRows x kTileDepth by kTileDepth x kTileVectors vectors, added
// to the same accumulators: per k one load of each vector of B and one broadcast of each row of A.
inline float tile_loop(int64_t steps) {
  TileOperands operands;
  for (float& value : operands.a) value = 0.001f;
  for (float& value : operands.b) value = 0.001f;
  Vec::F acc[kTileRows][kTileVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kTileRows; ++m) {
#pragma GCC unroll 16
    for (int v = 0; v < kTileVectors; ++v) acc[m][v] = Vec::zero();
  }
  for (int64_t step = 0; step < steps; ++step) {
    const float* a = operands.a;
    const float* b = operands.b;
    // The compiler must take the operands for changed, or it would load them once.
    asm volatile("" : "+r"(a), "+r"(b) : : "memory");
    for (int64_t k = 0; k < kTileDepth; ++k) {
      Vec::F w[kTileVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kTileVectors; ++v) w[v] = Vec::load(b + v * Vec::kWidth);
#pragma GCC unroll 16
      for (int m = 0; m < kTileRows; ++m) {
        const Vec::F x = Vec::set(a[m]);
#pragma GCC unroll 16
        for (int v = 0; v < kTileVectors; ++v) acc[m][v] = Vec::fma(x, w[v], acc[m][v]);
      }
      a += kTileRows;
      b += kTileVectors * Vec::kWidth;
    }
  }
  Vec::F total = Vec::zero();
#pragma GCC unroll 16
  for (int m = 0; m < kTileRows; ++m) {
#pragma GCC unroll 16
    for (int v = 0; v < kTileVectors; ++v) total = Vec::add(total, acc[m][v]);
  }
  return Vec::sum(total);
}

}  // namespace
