// ByteTrie: values by byte strings, walked a byte at a time; one load and one comparison a step.
// Source of the layout: Aoe 1989, "An Efficient Digital Search Algorithm by Using a Double-Array
// Structure".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "csrc/base/status.h"

namespace pelton {

// Immutable after construction; thread-safe. 8 to 14 bytes of memory per byte of distinct prefixes.
class ByteTrie {
 public:
  struct Entry {
    std::string_view key;
    int32_t value = 0;
  };
  // A prefix of a key.
  using State = uint32_t;
  static constexpr State kRoot = 0;

  // kInvalidArgument: a key is there twice. REQUIRES: the keys' bytes are under 1 GiB in sum.
  static Result<ByteTrie> create(const std::vector<Entry>& entries);

  // Whether `state` followed by `byte` is a prefix of a key; then `state` is that.
  bool step(State& state, uint8_t byte) const {
    const State next = (nodes_[state].base_and_key >> 1) + byte;
    if (nodes_[next].parent != state) return false;
    state = next;
    return true;
  }
  bool is_key(State state) const { return (nodes_[state].base_and_key & 1) != 0; }
  // REQUIRES: is_key(state).
  int32_t value(State state) const { return values_[state]; }

 private:
  static constexpr State kNone = 0xFFFFFFFF;
  struct Node {
    uint32_t base_and_key = 0;  // children are at base + byte; lowest bit: whether it is a key
    State parent = kNone;       // kNone: free, or the root
  };
  struct Sorted;
  struct Pending;

  explicit ByteTrie(const std::vector<Sorted>& keys);
  State find_base(const std::vector<uint8_t>& labels);
  void grow(size_t count);

  std::vector<Node> nodes_;
  std::vector<int32_t> values_;
  State first_free_ = 256;  // no search for room begins below it
};

}  // namespace pelton
