// PELTON_CHECK: stops the process on a broken invariant. For bugs only; bad input is a Status.
#pragma once

#include <cstdio>
#include <cstdlib>

#define PELTON_CHECK(condition)                                                          \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
