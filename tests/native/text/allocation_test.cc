// Encoding allocates nothing once `ids` has grown. This binary counts every allocation of the
// process.
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "csrc/text/word_piece.h"
#include "tests/native/test.h"

namespace {

std::atomic<int64_t> allocation_count{0};

}  // namespace

void* operator new(std::size_t bytes) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](std::size_t bytes) { return ::operator new(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace pelton {
namespace {

TEST(encoding_allocates_nothing) {
  WordPiece::Options options;
  options.vocabulary = {"[UNK]", "[SEP]", "the", "play", "##ing"};
  options.added_tokens = {{"[SEP]", 1}};
  options.suffix = {1};
  const auto word_piece = WordPiece::create(options);
  ASSERT_OK(word_piece);
  std::string text = "The playing[SEP] \xC3\xA9\xCC\x81 \xED\x95\x9C \xE6\xBC\xA2 ";
  text += "\xF0\x9D\x85\x9E\xE3\x80\xAE\xE3\x80\xAF ";  // U+1D15E U+302E U+302F: put in order
  text += std::string(5000, 'x') + " playinx";
  std::vector<int32_t> ids;
  const int64_t count = word_piece.value()->encode(text, 1000, ids);
  const int64_t before = allocation_count.load();
  for (int round = 0; round < 10; ++round) {
    ids.clear();
    EXPECT_EQ(word_piece.value()->encode(text, 1000, ids), count);
  }
  EXPECT_EQ(allocation_count.load() - before, 0);
}

}  // namespace
}  // namespace pelton
