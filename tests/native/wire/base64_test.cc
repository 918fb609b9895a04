#include "csrc/wire/base64.h"

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

std::string encoded(std::string_view text) {
  std::string out;
  append_base64(std::as_bytes(std::span(text)), out);
  return out;
}

// RFC 4648 word by word: bits, six at a time.
std::string plain(std::string_view text) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    for (count += 8; count >= 6; count -= 6) out += kAlphabet[bits >> (count - 6) & 63];
  }
  if (count > 0) out += kAlphabet[bits << (6 - count) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

TEST(base64_of_the_vectors_in_rfc_4648) {
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foob"), "Zm9vYg==");
  EXPECT_EQ(encoded("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(base64_of_every_length_is_what_the_plain_way_makes) {
  std::mt19937_64 random(testing::seed());
  for (size_t size = 0; size < 200; ++size) {
    // On the heap at its exact size, so that a sanitizer sees a load behind it.
    std::vector<char> bytes(size);
    for (char& byte : bytes) byte = static_cast<char>(random());
    const std::string_view text(bytes.data(), bytes.size());
    if (!EXPECT_EQ(encoded(text), plain(text))) return;
    EXPECT_EQ(encoded(text).size(), base64_size(size));
  }
}

TEST(base64_appends) {
  std::string out = "before ";
  append_base64(std::as_bytes(std::span(std::string_view("foo"))), out);
  EXPECT_EQ(out, "before Zm9v");
}

}  // namespace
}  // namespace pelton
