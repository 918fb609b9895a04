// XXH64, written from its specification (Yann Collet, "xxHash fast digest algorithm", version
// 0.1.1). For checksums of files we wrote ourselves, not against an adversary.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pelton {

uint64_t xxh64(const void* data, size_t bytes, uint64_t seed = 0);

}  // namespace pelton
