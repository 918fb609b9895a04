// A fuzz target as a native test, where no libFuzzer is: every file of its corpus, then a fixed
// count of mutants of them. The same seed makes the same mutants. Where the process dies, the input
// that killed it is printed in hexadecimal.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tests/native/test.h"

// Of the sanitizers' runtime, where there is one.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

constexpr int kMutants = 20'000;
constexpr size_t kBytesMax = 2048;

// What the target is looking at.
const std::string* running = nullptr;

// Not async-signal-safe in the letter (stdio): the process is lost already, and without the input
// the failure would be too.
void print_running() {
  if (running == nullptr) return;
  std::fprintf(stderr, "\ninput of %zu bytes:", running->size());
  for (const char c : *running) std::fprintf(stderr, " %02x", static_cast<uint8_t>(c));
  std::fprintf(stderr, "\n");
  running = nullptr;
}

void on_death(int signal) {
  print_running();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const std::string& input) {
  running = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  running = nullptr;
}

void print_input_at_death() {
  std::signal(SIGABRT, on_death);
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(print_running);
  } else {
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, on_death);
  }
}

// In the order of their names, which makes the mutants.
std::vector<std::string> read_corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(PELTON_FUZZ_CORPUS)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// Changes that find the faults of parsers: a byte, a length, a part that is gone, doubled, or from
// elsewhere.
class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, uint64_t seed) : corpus_(corpus), random_(seed) {}

  std::string next() {
    std::string input = any();
    for (size_t count = 1 + below(6); count > 0; --count) change(input);
    if (input.size() > kBytesMax) input.resize(kBytesMax);
    return input;
  }

 private:
  size_t below(size_t bound) { return static_cast<size_t>(random_() % bound); }
  const std::string& any() { return corpus_[below(corpus_.size())]; }
  char byte() {
    constexpr char kTelling[] = "\0\1\x7f\x80\xc1\xff\r\n\t ,;:\"\\{}[]%/.-+0129eaFNI";
    return below(2) == 0 ? kTelling[below(sizeof(kTelling) - 1)] : static_cast<char>(below(256));
  }
  std::string part_of(const std::string& text) {
    if (text.empty()) return {};
    const size_t begin = below(text.size());
    return text.substr(begin, 1 + below(std::min<size_t>(64, text.size() - begin)));
  }

  void change(std::string& input) {
    if (input.empty()) input = any();
    if (input.empty()) return;
    const size_t at = below(input.size());
    const size_t count = std::min(1 + below(16), input.size() - at);
    switch (below(8)) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        break;
      case 1:
        input[at] = byte();
        break;
      case 2:
        input.insert(at, 1 + below(3), byte());
        break;
      case 3:
        input.erase(at, count);
        break;
      case 4:
        input.insert(at, std::string(input, at, count));
        break;
      case 5:
        input.insert(at, part_of(any()));
        break;
      case 6:
        input.resize(at);
        break;
      default:
        input[at] = static_cast<char>(input[at] + (below(2) == 0 ? 1 : -1));
        break;
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_;
};

}  // namespace

TEST(fuzz_corpus_holds) {
  print_input_at_death();
  const std::vector<std::string> corpus = read_corpus();
  EXPECT(corpus.size() >= 5);
  for (const std::string& input : corpus) run(input);
}

TEST(fuzz_mutants_hold) {
  print_input_at_death();
  const std::vector<std::string> corpus = read_corpus();
  ASSERT(!corpus.empty());
  Mutator mutator(corpus, testing::seed());
  for (int i = 0; i < kMutants; ++i) run(mutator.next());
}
