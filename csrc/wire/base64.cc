#include "csrc/wire/base64.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace pelton {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Two characters for each 12 bits: 8 KiB, a quarter of a first-level cache, and half the look-ups
// of a table of 6 bits.
using Pair = std::array<char, 2>;

constexpr std::array<Pair, 4096> pairs() {
  std::array<Pair, 4096> table{};
  for (size_t bits = 0; bits < table.size(); ++bits) {
    table[bits] = {kAlphabet[bits >> 6], kAlphabet[bits & 63]};
  }
  return table;
}

constexpr std::array<Pair, 4096> kPairs = pairs();

// The top `count` * 12 bits of `word`, highest first.
inline void write_pairs(uint64_t word, int count, char* out) {
  for (int pair = 0; pair < count; ++pair) {
    std::memcpy(out + 2 * pair, kPairs[(word >> (52 - 12 * pair)) & 0xFFF].data(), 2);
  }
}

inline uint64_t load_big_endian(const unsigned char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  if constexpr (std::endian::native == std::endian::little) word = __builtin_bswap64(word);
  return word;
}

void encode(const unsigned char* bytes, size_t size, char* out) {
  // Six bytes a step; each step loads eight.
  for (; size >= 8; size -= 6, bytes += 6, out += 8) write_pairs(load_big_endian(bytes), 4, out);
  for (; size >= 3; size -= 3, bytes += 3, out += 4) {
    write_pairs(uint64_t{bytes[0]} << 56 | uint64_t{bytes[1]} << 48 | uint64_t{bytes[2]} << 40, 2,
                out);
  }
  if (size == 0) return;
  const uint64_t second = size == 2 ? bytes[1] : 0;
  write_pairs(uint64_t{bytes[0]} << 56 | second << 48, 2, out);
  out[3] = '=';
  if (size == 1) out[2] = '=';
}

}  // namespace

void append_base64(std::span<const std::byte> bytes, std::string& out) {
  const size_t before = out.size();
  out.resize(before + base64_size(bytes.size()));
  encode(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data() + before);
}

}  // namespace pelton
