#include "csrc/memory/arena.h"

#include <algorithm>
#include <utility>

namespace pelton {

Status Arena::reserve(size_t bytes) {
  if (bytes <= block_.bytes()) return Status();
  const size_t grown = std::max(bytes, block_.bytes() + block_.bytes() / 2);
  block_ = MemoryBlock();  // before the new one: the two need not be held at once
  Result<MemoryBlock> block = allocator_.allocate(grown);
  if (!block.ok() && grown > bytes) block = allocator_.allocate(bytes);
  if (!block.ok()) return block.status();
  block_ = std::move(block).value();
  return Status();
}

}  // namespace pelton
