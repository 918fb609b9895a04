// How long a thread that computes may run before the kernel looks for another.
#pragma once

#include <cstdint>

namespace pelton {

// Asks for a slice of `ns` for the calling thread; 0: the kernel's default. A thread with a longer
// slice than others gives way at once to those that wake up (Linux 6.12: EEVDF's PREEMPT_SHORT),
// where it would otherwise run its slice to the end (1.4 ms and more) while the event loop waits
// for its CPU. It gets as much time as before. Older kernels take the wish and do nothing. False
// where the thread is not scheduled by the default policy, or may not ask.
bool ask_for_time_slice(int64_t ns);

}  // namespace pelton
