// This binary counts every allocation of the process.
#pragma once

#include <cstdint>

namespace testing {

int64_t allocation_count();

}  // namespace testing
