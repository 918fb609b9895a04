// The gates allocate nothing, whether they accept or refuse. This binary counts every allocation of
// the process.
#include <atomic>
#include <cstdlib>
#include <new>

#include "csrc/control/model_gates.h"
#include "tests/native/control/requests.h"
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
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace pelton {
namespace {

TEST(gates_allocate_nothing) {
  ModelGates gates({.queue_rows_max = 40});
  const int64_t before = allocation_count.load();
  int64_t accepted = 0;
  for (Nanos now = 1; now <= 1000; ++now) {
    GateRequest request = request_of(1 + now % 50, now % 3 == 0 ? now - 1 : kNoDeadline);
    gates.counters().decoded(10, 100);
    if (!is_accepted(gates.before(request, now))) {
      gates.counters().count(ProblemKind::kQueueFull, 1);
      continue;
    }
    ++accepted;
    gates.ran(request, batch_of(4, now * 100, 50));
    gates.after(request, RequestEnd::kOk, now);
    gates.counters().count_ok(request, {});
  }
  EXPECT_EQ(allocation_count.load(), before);
  EXPECT(accepted > 100 && accepted < 900);
}

}  // namespace
}  // namespace pelton
