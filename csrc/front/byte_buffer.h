// ByteBuffer: a growing run of bytes of which nothing is touched before it is written. Large ones
// grow by moving pages, not by copying (realloc on Linux), so that a body costs one copy from the
// socket and a length that a head merely claims costs nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "csrc/base/check.h"

namespace pelton {

// Not thread-safe.
class ByteBuffer {
 public:
  // What clear() keeps.
  static constexpr size_t kKeptBytesMax = size_t{64} << 10;

  ByteBuffer() = default;
  ByteBuffer(const ByteBuffer&) = delete;
  ByteBuffer& operator=(const ByteBuffer&) = delete;

  // `expected` is the size that is to be expected in the end, 0 where nobody knows.
  void append(std::string_view bytes, size_t expected = 0) {
    if (bytes.empty()) return;
    if (bytes.size() > capacity_ - size_) grow(size_ + bytes.size(), expected);
    std::memcpy(memory_.get() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void clear() {
    size_ = 0;
    if (capacity_ > kKeptBytesMax) {
      memory_.reset();
      capacity_ = 0;
    }
  }

  size_t size() const { return size_; }
  std::string_view text() const { return {memory_.get(), size_}; }
  std::span<const std::byte> bytes() const {
    return {reinterpret_cast<const std::byte*>(memory_.get()), size_};
  }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  void grow(size_t bytes_min, size_t expected) {
    size_t bytes = std::max({bytes_min, 2 * capacity_, size_t{1024}});
    // Not at once what a head claims: its bytes may never come.
    if (expected >= bytes_min) bytes = std::min(bytes, expected);
    auto* const moved = static_cast<char*>(std::realloc(memory_.get(), bytes));
    PELTON_CHECK(moved != nullptr);
    (void)memory_.release();
    memory_.reset(moved);
    capacity_ = bytes;
  }

  std::unique_ptr<char, Free> memory_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace pelton
