// What a forked child must know: threads and locks of its parent do not exist in it.
#pragma once

#include <cstdint>

namespace pelton {

// Counts the forks that lie between the first call in an ancestor process and this process. An
// object with threads remembers the number it was made under; when the number differs, it is a copy
// in a child and its threads are gone. Thread-safe, async-signal-safe after the first call; costs
// one relaxed load.
uint32_t fork_generation();

}  // namespace pelton
