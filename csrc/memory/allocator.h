// Allocator: aligned memory of one device, counted and capped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "csrc/base/status.h"
#include "csrc/device/device.h"

namespace pelton {

inline constexpr size_t kMemoryAlignment = 64;

struct MemoryStats {
  uint64_t bytes_in_use = 0;
  uint64_t bytes_peak = 0;
  uint64_t allocations_total = 0;
  uint64_t refusals_total = 0;  // over the cap, or the device had none
};

class Allocator;

// Owns one block of an allocator; gives it back when destroyed.
class MemoryBlock {
 public:
  MemoryBlock() = default;
  MemoryBlock(MemoryBlock&& other) noexcept;
  MemoryBlock& operator=(MemoryBlock&& other) noexcept;
  ~MemoryBlock();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  friend class Allocator;
  MemoryBlock(Allocator* owner, std::byte* data, size_t bytes)
      : owner_(owner), data_(data), bytes_(bytes) {}
  Allocator* owner_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Thread-safe. Outlives its blocks: the destructor checks that all came back (the leak check).
class Allocator {
 public:
  struct Options {
    uint64_t bytes_max = std::numeric_limits<uint64_t>::max();
  };
  Allocator(Device& device, const Options& options);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // `bytes` aligned to kMemoryAlignment; contents not defined. kOutOfMemory: over bytes_max, or the
  // device has none. REQUIRES: bytes > 0.
  Result<MemoryBlock> allocate(size_t bytes);
  MemoryStats stats() const;

 private:
  friend class MemoryBlock;
  void release(std::byte* data, size_t bytes);
  bool reserve(uint64_t bytes);

  Device& device_;
  const uint64_t bytes_max_;
  // Counters, each by itself: relaxed is enough.
  std::atomic<uint64_t> bytes_in_use_{0};
  std::atomic<uint64_t> bytes_peak_{0};
  std::atomic<uint64_t> allocations_total_{0};
  std::atomic<uint64_t> refusals_total_{0};
};

}  // namespace pelton
