#include "csrc/concurrency/time_slice.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace pelton {
namespace {

// The kernel's struct sched_attr, version 1 (linux/sched/types.h); the C library has no wrapper.
struct SchedAttr {
  uint32_t size = 0;
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
  uint32_t util_min = 0;
  uint32_t util_max = 0;
};
static_assert(sizeof(SchedAttr) == 56);

}  // namespace

bool ask_for_time_slice(int64_t ns) {
#if defined(SYS_sched_getattr) && defined(SYS_sched_setattr)
  // The rest (policy, nice) as it is.
  SchedAttr attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return false;
  if (attributes.policy != SCHED_OTHER) return false;
  attributes.size = sizeof(attributes);
  attributes.runtime = static_cast<uint64_t>(ns);
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
#else
  (void)ns;
  return false;
#endif
}

}  // namespace pelton
