// Scratch: memory of one request. Bump allocation from blocks that never move, so that views into
// it stay valid until reset(); freed all at once. After a few requests of a kind it allocates
// nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace pelton {

// Not thread-safe.
class Scratch {
 public:
  // What reset() keeps for the next request.
  static constexpr size_t kKeptBytesMax = size_t{64} << 10;

  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Uninitialized. REQUIRES: alignment is a power of two, at most alignof(std::max_align_t).
  std::byte* allocate(size_t bytes, size_t alignment = alignof(std::max_align_t)) {
    used_ = (used_ + alignment - 1) & ~(alignment - 1);
    if (blocks_.empty() || bytes > blocks_.back().bytes - std::min(used_, blocks_.back().bytes)) {
      add_block(bytes);
    }
    std::byte* const begin = blocks_.back().memory.get() + used_;
    used_ += bytes;
    return begin;
  }
  // Uninitialized elements.
  template <typename T>
  std::span<T> make(size_t count) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
    return {reinterpret_cast<T*>(allocate(count * sizeof(T), alignof(T))), count};
  }
  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    std::byte* const begin = allocate(text.size(), 1);
    std::memcpy(begin, text.data(), text.size());
    return {reinterpret_cast<const char*>(begin), text.size()};
  }

  // Gives everything back but one block of at most kKeptBytesMax.
  void reset() {
    while (blocks_.size() > 1 || (!blocks_.empty() && blocks_.back().bytes > kKeptBytesMax)) {
      total_ -= blocks_.back().bytes;
      blocks_.pop_back();
    }
    used_ = 0;
  }
  // Held from the system.
  size_t bytes() const { return total_; }

 private:
  static constexpr size_t kFirstBlockBytes = 4096;
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    size_t bytes;
  };

  void add_block(size_t bytes_min) {
    const size_t grown = blocks_.empty() ? kFirstBlockBytes : 2 * blocks_.back().bytes;
    const size_t bytes = std::max(bytes_min, std::min(grown, size_t{16} << 20));
    blocks_.push_back({std::unique_ptr<std::byte[]>(new std::byte[bytes]), bytes});
    total_ += bytes;
    used_ = 0;
  }

  std::vector<Block> blocks_;
  size_t used_ = 0;  // of the last block
  size_t total_ = 0;
};

}  // namespace pelton
