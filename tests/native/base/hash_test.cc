// Values of XXH64 from the reference implementation's command, for bytes i * 131 mod 251.
#include "csrc/base/hash.h"

#include <array>

#include "tests/native/test.h"

namespace pelton {
namespace {

struct Row {
  size_t bytes;
  uint64_t hash;
  uint64_t hash_seeded;  // seed 2654435761
};

// Around every boundary of the algorithm: 4, 8, and 32 bytes.
constexpr Row kRows[] = {
    {0, 0xef46db3751d8e999, 0xac75fda2929b17ef},   {1, 0xe934a84adb052768, 0x5014607643a9b4c3},
    {3, 0x7c8ab8c33e4872c9, 0xd5c98fee58c4484f},   {4, 0x82fe87d9f1a6f212, 0xd5aaaacda25ae1bc},
    {7, 0xa77a97e1a1bd05a3, 0x94badf20838c44b},    {8, 0x74fdb7a8e7c76e92, 0xe190767195a7b1cc},
    {14, 0xcdb7ac982f9fdcc9, 0xb4634abb2c1581c6},  {31, 0x2fea6d3d306c40ab, 0x3275ff5e322b052b},
    {32, 0x2841e325bd8b8a6e, 0xb3a10518d886c5a4},  {33, 0x8d6a7345e04b1636, 0x6b94abeadb5d21ce},
    {63, 0xa766caed8999484a, 0x87a42eb9651acaa6},  {64, 0x74fd6bd23d8e0470, 0x82bbc937d2e09a6c},
    {222, 0xe840b276d20170f7, 0xead55358c9759743},
};

}  // namespace

TEST(hash_xxh64_known_values) {
  // One byte more than needed, so that every length is also hashed from an odd address.
  std::array<unsigned char, 223> buffer{};
  for (const size_t shift : {size_t{0}, size_t{1}}) {
    for (size_t i = 0; i < 222; ++i) buffer[i + shift] = static_cast<unsigned char>(i * 131 % 251);
    for (const Row& row : kRows) {
      EXPECT_EQ(xxh64(buffer.data() + shift, row.bytes), row.hash);
      EXPECT_EQ(xxh64(buffer.data() + shift, row.bytes, 2654435761), row.hash_seeded);
    }
  }
}

TEST(hash_xxh64_of_nothing_needs_no_memory) { EXPECT_EQ(xxh64(nullptr, 0), 0xef46db3751d8e999); }

}  // namespace pelton
