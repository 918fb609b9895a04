// Device: where memory comes from and kernels run. This file knows no device but the CPU; others
// implement the same interface.
#pragma once

#include <cstddef>
#include <string_view>

namespace pelton {

// Thread-safe.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view name() const = 0;
  // `bytes` of memory aligned to `alignment`, or nullptr when there is none. The contents are not
  // defined. REQUIRES: bytes > 0; alignment is a power of two >= sizeof(void*).
  virtual void* allocate(size_t bytes, size_t alignment) = 0;
  // REQUIRES: `memory` came from allocate() of this device and has not been given back.
  virtual void deallocate(void* memory) = 0;
};

// Host memory. Blocks of 2 MiB and more ask the kernel for huge pages.
Device& cpu_device();

}  // namespace pelton
