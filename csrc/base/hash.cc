#include "csrc/base/hash.h"

#include <bit>
#include <cstring>

namespace pelton {
namespace {

static_assert(std::endian::native == std::endian::little, "lanes are read as little-endian words");

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;
constexpr size_t kStripeBytes = 32;

template <typename T>
T load(const unsigned char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t round(uint64_t accumulator, uint64_t lane) {
  return std::rotl(accumulator + lane * kPrime2, 31) * kPrime1;
}

uint64_t merge(uint64_t accumulator, uint64_t lane) {
  return (accumulator ^ round(0, lane)) * kPrime1 + kPrime4;
}

// The four lanes over every whole stripe; leaves `*cursor` after the last one.
uint64_t hash_stripes(const unsigned char** cursor, const unsigned char* end, uint64_t seed) {
  uint64_t lane1 = seed + kPrime1 + kPrime2;
  uint64_t lane2 = seed + kPrime2;
  uint64_t lane3 = seed;
  uint64_t lane4 = seed - kPrime1;
  const unsigned char* p = *cursor;
  for (; static_cast<size_t>(end - p) >= kStripeBytes; p += kStripeBytes) {
    lane1 = round(lane1, load<uint64_t>(p));
    lane2 = round(lane2, load<uint64_t>(p + 8));
    lane3 = round(lane3, load<uint64_t>(p + 16));
    lane4 = round(lane4, load<uint64_t>(p + 24));
  }
  *cursor = p;
  const uint64_t sum =
      std::rotl(lane1, 1) + std::rotl(lane2, 7) + std::rotl(lane3, 12) + std::rotl(lane4, 18);
  return merge(merge(merge(merge(sum, lane1), lane2), lane3), lane4);
}

// The fewer than 32 bytes after the last stripe.
uint64_t hash_tail(uint64_t hash, const unsigned char* p, const unsigned char* end) {
  for (; end - p >= 8; p += 8) {
    hash = std::rotl(hash ^ round(0, load<uint64_t>(p)), 27) * kPrime1 + kPrime4;
  }
  if (end - p >= 4) {
    hash = std::rotl(hash ^ (load<uint32_t>(p) * kPrime1), 23) * kPrime2 + kPrime3;
    p += 4;
  }
  for (; p != end; ++p) hash = std::rotl(hash ^ (*p * kPrime5), 11) * kPrime1;
  return hash;
}

uint64_t avalanche(uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

}  // namespace

uint64_t xxh64(const void* data, size_t bytes, uint64_t seed) {
  if (bytes == 0) return avalanche(seed + kPrime5);
  const auto* cursor = static_cast<const unsigned char*>(data);
  const unsigned char* end = cursor + bytes;
  const uint64_t start = bytes >= kStripeBytes ? hash_stripes(&cursor, end, seed) : seed + kPrime5;
  return avalanche(hash_tail(start + bytes, cursor, end));
}

}  // namespace pelton
