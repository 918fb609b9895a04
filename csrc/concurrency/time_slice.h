// How long a thread that computes may run before the kernel looks for another.
#pragma once

#include <cstdint>

namespace pelton {

// Asks for a slice of `ns` (the kernel takes 0.1 to 100 ms) for the calling thread; 0: the kernel's
// default. The thread gets as much time as before, in shorter or longer turns (Linux 6.12 and
// later; older kernels take the wish and do nothing). False where the thread is not scheduled by
// the default policy, or may not ask.
bool ask_for_time_slice(int64_t ns);

}  // namespace pelton
