// The levels of priority. They order the formation of batches, never the ring.
#pragma once

namespace pelton {

inline constexpr int kLevelFirst = 1;  // the most urgent
inline constexpr int kLevelDefault = 2;
inline constexpr int kLevelLast = 4;

// The level of a priority as callers give it: 1 to 4; 0 (or below) means 2, above 4 means 4.
constexpr int level_of_priority(int priority) {
  if (priority < kLevelFirst) return kLevelDefault;
  return priority < kLevelLast ? priority : kLevelLast;
}

}  // namespace pelton
