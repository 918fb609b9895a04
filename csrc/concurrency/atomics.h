// What the lock-free templates of this folder need from the machine, as a policy: atomics, plain
// data that another thread hands over, and futexes. Production code uses StdAtomics; the model
// tests put relacy's types behind the same names and so check the very templates that ship. Only
// object orderings are used, never atomic_thread_fence, which ThreadSanitizer does not model.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace pelton {

// Destructive interference: two lines of 64 bytes, because the adjacent-line prefetcher fetches
// pairs.
inline constexpr size_t kInterferenceBytes = 128;
inline constexpr size_t kCacheLineBytes = 64;
inline constexpr int64_t kNoTimeout = -1;

// Sleeps while *word == expected, for at most timeout_ns (kNoTimeout: for ever). May wake for no
// reason. Returns false when the time ran out.
bool futex_wait(const std::atomic<uint32_t>* word, uint32_t expected, int64_t timeout_ns);
// Wakes up to `count` sleepers. Touches the address only as a key: `word` may already be gone.
void futex_wake(const std::atomic<uint32_t>* word, int count);

struct StdAtomics {
  template <typename T>
  using Atomic = std::atomic<T>;

  // A value that one thread writes and another takes after it synchronized with the writer through
  // an Atomic.
  template <typename T>
  class Plain {
   public:
    void put(T value) { value_ = std::move(value); }
    T take() { return std::move(value_); }

   private:
    T value_{};
  };

  static bool wait(const Atomic<uint32_t>& word, uint32_t expected, int64_t timeout_ns) {
    return futex_wait(&word, expected, timeout_ns);
  }
  static void wake(const Atomic<uint32_t>& word, int count) { futex_wake(&word, count); }
  // How often a waiter looks before it thinks of sleeping: about a microsecond.
  static constexpr int kPausesMin = 64;
  // Tells the CPU that this is a spin loop.
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
};

}  // namespace pelton
