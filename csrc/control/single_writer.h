// A number that one thread writes and any thread reads.
#pragma once

#include <atomic>

namespace pelton {

// Thread-safe: load() from any thread, the rest from one at a time. Relaxed: readers show the
// value, they conclude nothing from it.
template <typename T>
class SingleWriter {
 public:
  T load() const { return value_.load(std::memory_order_relaxed); }
  void store(T value) { value_.store(value, std::memory_order_relaxed); }
  void add(T amount) { store(load() + amount); }

 private:
  std::atomic<T> value_{};
};

}  // namespace pelton
