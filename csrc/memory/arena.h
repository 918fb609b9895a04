// Arena: one block that is laid out anew for each batch and grows when a batch needs more than any
// before it, so that after warm-up a batch allocates nothing.
#pragma once

#include "csrc/memory/allocator.h"

namespace pelton {

// Not thread-safe. Pointers into the arena stay valid until the next reserve().
class Arena {
 public:
  // The allocator must outlive the arena.
  explicit Arena(Allocator& allocator) : allocator_(allocator) {}

  // Makes room for `bytes`; contents are not kept. Grows by at least half, so that a slowly rising
  // demand allocates rarely. On kOutOfMemory the arena is empty.
  Status reserve(size_t bytes);
  std::byte* data() const { return block_.data(); }
  size_t bytes() const { return block_.bytes(); }

 private:
  Allocator& allocator_;
  MemoryBlock block_;
};

}  // namespace pelton
