// What the gates cost per request, and the look at every float of a dense input. Prints a line of
// JSON per case: the nanoseconds per request of each round.
//   pelton_bench_gates [--rounds N] [--tiny]
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/control/model_gates.h"
#include "csrc/front/bind_dense.h"

namespace pelton {
namespace {

struct Options {
  int rounds = 15;
  bool tiny = false;
};

// Keeps the compiler from leaving out what is measured.
void use(const void* memory) { asm volatile("" : : "r"(memory) : "memory"); }

// Of this thread: what others on the machine take from it does not count.
double cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

// Runs `once` on 0, 1, 2 ... for about `count` requests a round, after one round that warms up.
template <typename Once>
void measure(const std::string& name, const Options& options, int64_t count, Once&& once) {
  if (options.tiny) count = std::min<int64_t>(count, 100);
  int64_t number = 0;
  std::printf("{\"case\": \"%s\", \"ns\": [", name.c_str());
  for (int round = -1; round < options.rounds; ++round) {
    const double started = cpu_ns();
    for (int64_t i = 0; i < count; ++i) once(number++);
    const double taken = cpu_ns() - started;
    if (round < 0) continue;
    std::printf("%s%.2f", round == 0 ? "" : ", ", taken / static_cast<double>(count));
  }
  std::printf("]}\n");
}

// So many requests of a model are under way: each new one comes when the oldest is over.
class Flight {
 public:
  static constexpr size_t kInFlight = 64;
  static constexpr int64_t kBatchRows = 8;
  static constexpr Nanos kBetween = 10'000;  // from one request to the next

  explicit Flight(Nanos left) : left_(left), gates_({.concurrency_max = 1000}) {}

  // Everything that the request path asks and tells: at its arrival, at its batch, at its answer.
  void step(int64_t number) {
    const Nanos now = Nanos{1} << 40 | number * kBetween;
    GateRequest& request = requests_[static_cast<size_t>(number) % kInFlight];
    if (request.passed > 0) finish(request, number, now);
    request = GateRequest();
    request.row_count = request.token_count = 1;
    request.body_bytes = 200;
    request.arrival = now;
    if (left_ > 0) request.deadline = now + left_;
    gates_.counters().decoded(800 + number % 512, request.body_bytes);
    const GateDecision decision = gates_.before(request, now);
    use(&decision);
    if (decision.kind == GateDecision::Kind::kReject) {
      gates_.counters().count(decision.refusal.kind, 1000);
    }
  }
  bool is_all_answered() const {
    for (const uint64_t count : gates_.snapshot().refused) {
      if (count > 0) return false;
    }
    return true;
  }

 private:
  void finish(GateRequest& request, int64_t number, Nanos now) {
    // All of a batch were told the same times.
    const Nanos started = now - number % kBatchRows * kBetween - 100'000;
    gates_.ran(request, {.queued = request.arrival,
                         .started = started,
                         .ended = started + 60'000 + number % 7 * 1000,
                         .rows = kBatchRows,
                         .tokens = kBatchRows});
    gates_.after(request, RequestEnd::kOk, now);
    gates_.counters().count_ok(request, {.decode_ns = 900,
                                         .encode_ns = 500 + number % 256,
                                         .total_ns = now - request.arrival,
                                         .body_bytes = 200});
  }

  const Nanos left_;
  ModelGates gates_;
  std::array<GateRequest, kInFlight> requests_;
};

void measure_gates(const Options& options) {
  constexpr int64_t kRequests = 200'000;
  constexpr size_t kModels = 256;  // their counts take more than a core's caches
  for (const Nanos left : {Nanos{0}, Nanos{50'000'000}}) {
    const std::string suffix = left > 0 ? ", with deadlines" : ", no deadlines";
    Flight one(left);
    measure("gates, one model" + suffix, options, kRequests,
            [&](int64_t number) { one.step(number); });
    std::vector<std::unique_ptr<Flight>> many;
    for (size_t i = 0; i < kModels; ++i) many.push_back(std::make_unique<Flight>(left));
    measure("gates, 256 models in turn" + suffix, options, kRequests, [&](int64_t number) {
      many[static_cast<size_t>(number) % kModels]->step(number / static_cast<int64_t>(kModels));
    });
    if (!one.is_all_answered()) {
      std::fprintf(stderr, "the gates refused what they should let pass\n");
      std::exit(1);
    }
  }
  ModelGates full({.queue_rows_max = 1});
  GateRequest first;
  first.row_count = first.token_count = 1;
  full.before(first, 1);
  measure("gates, refused: queue full", options, kRequests, [&](int64_t number) {
    GateRequest request;
    request.row_count = request.token_count = 1;
    const GateDecision decision = full.before(request, number);
    use(&decision);
    full.counters().count(decision.refusal.kind, 1000);
  });
}

void measure_finite(const Options& options) {
  for (const size_t count : {size_t{16}, size_t{512}, size_t{150'528}}) {
    // As in a body: aligned to nothing.
    std::vector<std::byte> memory(1 + count * sizeof(float), std::byte{0x11});
    const std::span<const std::byte> data(memory.data() + 1, count * sizeof(float));
    const auto runs = static_cast<int64_t>(20'000'000 / (count + 100));
    measure("finite, " + std::to_string(count) + " floats", options, runs, [&](int64_t) {
      use(memory.data());
      const auto found = first_non_finite(DType::kFp32, data);
      use(&found);
    });
  }
}

Options options_of(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--tiny") {
      options.tiny = true;
    } else if (word == "--rounds" && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      options.rounds = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: pelton_bench_gates [--rounds N] [--tiny]\n");
      std::exit(2);
    }
  }
  return options;
}

}  // namespace
}  // namespace pelton

int main(int argc, char** argv) {
  const pelton::Options options = pelton::options_of(argc, argv);
  pelton::measure_gates(options);
  pelton::measure_finite(options);
  return 0;
}
