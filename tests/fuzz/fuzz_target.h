// What fuzz targets share. A target is one file with LLVMFuzzerTestOneInput (the interface of
// libFuzzer): it gives the bytes to a parser or decoder and stops the process where an invariant is
// broken. It runs in two ways: under libFuzzer, which looks for new paths (tests/fuzz/run.py), and
// as a native test over mutants of the committed corpus (standalone_test.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#define FUZZ_EXPECT(condition)                                                               \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

namespace pelton::fuzz {

// A copy of exactly these bytes, so that AddressSanitizer sees a read of one more.
class ExactCopy {
 public:
  explicit ExactCopy(std::string_view bytes) : size_(bytes.size()), bytes_(new char[bytes.size()]) {
    if (size_ > 0) std::memcpy(bytes_.get(), bytes.data(), size_);
  }
  std::string_view text() const { return {bytes_.get(), size_}; }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text())); }

 private:
  size_t size_;
  std::unique_ptr<char[]> bytes_;
};

// Whether a view lies inside the text; an empty one may lie anywhere.
inline bool is_inside(std::string_view view, std::string_view text) {
  return view.empty() ||
         (view.data() >= text.data() && view.data() + view.size() <= text.data() + text.size());
}

// A sum over all bytes (FNV-1a), so that each of them is read: sanitizers judge whether it may be.
class Digest {
 public:
  void add(std::string_view text) {
    for (const char c : text) add_byte(static_cast<uint8_t>(c));
    add(text.size());
  }
  void add(uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) add_byte(static_cast<uint8_t>(value >> shift));
  }
  uint64_t value() const { return value_; }

 private:
  void add_byte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3; }
  uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace pelton::fuzz
