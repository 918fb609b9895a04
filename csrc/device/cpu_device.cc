#include <sys/mman.h>

#include <cstdlib>

#include "csrc/device/device.h"

namespace pelton {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

class CpuDevice final : public Device {
 public:
  std::string_view name() const override { return "cpu"; }

  void* allocate(size_t bytes, size_t alignment) override {
    const bool huge = bytes >= kHugePageBytes;
    void* memory = nullptr;
    if (posix_memalign(&memory, huge ? kHugePageBytes : alignment, bytes) != 0) return nullptr;
    // Advice: where it is refused the memory works as well, with more TLB misses.
    if (huge) madvise(memory, bytes / kHugePageBytes * kHugePageBytes, MADV_HUGEPAGE);
    return memory;
  }

  void deallocate(void* memory) override { std::free(memory); }
};

}  // namespace

Device& cpu_device() {
  static CpuDevice device;
  return device;
}

}  // namespace pelton
