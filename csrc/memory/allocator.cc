#include "csrc/memory/allocator.h"

#include <string>
#include <utility>

namespace pelton {

MemoryBlock::MemoryBlock(MemoryBlock&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

MemoryBlock& MemoryBlock::operator=(MemoryBlock&& other) noexcept {
  if (this == &other) return *this;
  if (owner_) owner_->release(data_, bytes_);
  owner_ = std::exchange(other.owner_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

MemoryBlock::~MemoryBlock() {
  if (owner_) owner_->release(data_, bytes_);
}

Allocator::Allocator(Device& device, const Options& options)
    : device_(device), bytes_max_(options.bytes_max) {}

Allocator::~Allocator() { PELTON_CHECK(bytes_in_use_.load(std::memory_order_relaxed) == 0); }

bool Allocator::reserve(uint64_t bytes) {
  uint64_t used = bytes_in_use_.load(std::memory_order_relaxed);
  do {
    if (bytes > bytes_max_ || used > bytes_max_ - bytes) return false;
  } while (!bytes_in_use_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  uint64_t peak = bytes_peak_.load(std::memory_order_relaxed);
  while (peak < used + bytes &&
         !bytes_peak_.compare_exchange_weak(peak, used + bytes, std::memory_order_relaxed)) {
  }
  return true;
}

Result<MemoryBlock> Allocator::allocate(size_t bytes) {
  PELTON_CHECK(bytes > 0);
  void* memory = nullptr;
  if (reserve(bytes)) {
    memory = device_.allocate(bytes, kMemoryAlignment);
    if (!memory) bytes_in_use_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  if (!memory) {
    refusals_total_.fetch_add(1, std::memory_order_relaxed);
    return Status(StatusCode::kOutOfMemory,
                  std::string(device_.name()) + ": " + std::to_string(bytes) + " bytes asked, " +
                      std::to_string(bytes_in_use_.load(std::memory_order_relaxed)) +
                      " in use, at most " + std::to_string(bytes_max_));
  }
  allocations_total_.fetch_add(1, std::memory_order_relaxed);
  return MemoryBlock(this, static_cast<std::byte*>(memory), bytes);
}

void Allocator::release(std::byte* data, size_t bytes) {
  device_.deallocate(data);
  bytes_in_use_.fetch_sub(bytes, std::memory_order_relaxed);
}

MemoryStats Allocator::stats() const {
  return {bytes_in_use_.load(std::memory_order_relaxed),
          bytes_peak_.load(std::memory_order_relaxed),
          allocations_total_.load(std::memory_order_relaxed),
          refusals_total_.load(std::memory_order_relaxed)};
}

}  // namespace pelton
