// relacy (Dmitry Vyukov's model checker) behind the names of StdAtomics, so that it runs the
// templates that ship. Every atomic access is a point where it may switch threads, and a load may
// give any value that the memory model allows. Faults weaken single promises: a check that does not
// find the fault proves nothing.
//
// Include after everything else: relacy defines macros named new, delete, malloc and free.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <streambuf>
#include <string>

#include "csrc/concurrency/atomics.h"
#include "tests/native/test.h"
// Between the last header of ours and the first of relacy's.
#include <relacy/relacy.hpp>
#undef new
#undef delete
#undef malloc
#undef free

namespace pelton {

struct NoFaults {
  static constexpr bool kRelaxedStores = false;       // release stores are relaxed
  static constexpr bool kRelaxedLoads = false;        // acquire loads are relaxed
  static constexpr bool kRelaxedRmws = false;         // read-modify-writes are relaxed
  static constexpr bool kAddOfZeroIsLoad = false;     // fetch_add(0) is a plain load
  static constexpr bool kExchangeOneIsStore = false;  // exchange(1) is a plain store
};

template <typename Faults = NoFaults>
struct RelacyAtomics {
  static rl::memory_order order_of(std::memory_order order) {
    switch (order) {
      case std::memory_order::relaxed:
        return rl::mo_relaxed;
      case std::memory_order::consume:
      case std::memory_order::acquire:
        return rl::mo_acquire;
      case std::memory_order::release:
        return rl::mo_release;
      case std::memory_order::acq_rel:
        return rl::mo_acq_rel;
      case std::memory_order::seq_cst:
        return rl::mo_seq_cst;
    }
    return rl::mo_seq_cst;
  }
  static rl::memory_order load_order(std::memory_order order) {
    return Faults::kRelaxedLoads ? rl::mo_relaxed : order_of(order);
  }
  static rl::memory_order store_order(std::memory_order order) {
    return Faults::kRelaxedStores ? rl::mo_relaxed : order_of(order);
  }
  static rl::memory_order rmw_order(std::memory_order order) {
    return Faults::kRelaxedRmws ? rl::mo_relaxed : order_of(order);
  }

  template <typename T>
  class Atomic {
   public:
    T load(std::memory_order order) const { return value_($).load(load_order(order)); }
    void store(T value, std::memory_order order) { value_($).store(value, store_order(order)); }
    T exchange(T value, std::memory_order order) {
      if (Faults::kExchangeOneIsStore && value == 1) {
        value_($).store(value, rl::mo_release);
        return value;
      }
      return value_($).exchange(value, rmw_order(order));
    }
    T fetch_add(T value, std::memory_order order) {
      if (Faults::kAddOfZeroIsLoad && value == 0) return value_($).load(rl::mo_acquire);
      return value_($).fetch_add(value, rmw_order(order));
    }
    T fetch_sub(T value, std::memory_order order) {
      return value_($).fetch_sub(value, rmw_order(order));
    }
    bool compare_exchange_weak(T& expected, T value, std::memory_order success,
                               std::memory_order failure) {
      return value_($).compare_exchange_weak(expected, value, rmw_order(success),
                                             rmw_order(failure));
    }
    bool compare_exchange_strong(T& expected, T value, std::memory_order success,
                                 std::memory_order failure) {
      return value_($).compare_exchange_strong(expected, value, rmw_order(success),
                                               rmw_order(failure));
    }
    rl::atomic<T>& raw() const { return value_; }

   private:
    mutable rl::atomic<T> value_;
  };

  // relacy reports an access that does not happen before or after every other one.
  template <typename T>
  class Plain {
   public:
    void put(T value) { value_($) = value; }
    T take() { return value_($); }

   private:
    rl::var<T> value_;
  };

  // As the kernel does it: compare and go to sleep in one step. May wake for no reason.
  static bool wait(const Atomic<uint32_t>& word, uint32_t expected, int64_t) {
    rl::context& context = rl::ctx();
    context.sched();
    context.atomic_thread_fence_seq_cst();
    uint32_t value = 0;
    {
      rl::preemption_disabler disabler(context);
      value = word.raw().load(rl::mo_acquire, $);
    }
    if (value == expected) word.raw().wait(context, false, true, $);
    return true;
  }
  static void wake(const Atomic<uint32_t>& word, int count) {
    rl::context& context = rl::ctx();
    context.sched();
    context.atomic_thread_fence_seq_cst();
    constexpr int kThreadsMax = 8;
    word.raw().wake(context, std::min(count, kThreadsMax), $);
  }
  static constexpr int kPausesMin = 1;
  static void pause() { rl::yield(1, $); }
};

struct ModelResult {
  rl::test_result_e result;
  uint64_t iterations;
};

// Output that nobody reads. Not a string stream: inside a simulation relacy hands out its own
// memory, which a stream that outlives the simulation must not hold.
class Nowhere final : public std::streambuf {
 protected:
  int overflow(int character) override { return character == EOF ? 0 : character; }
  std::streamsize xsputn(const char*, std::streamsize count) override { return count; }
};

// Runs interleavings of the suite's threads, chosen at random from a fixed seed. The history of a
// failure goes to `report`.
template <typename Suite>
ModelResult simulate(uint64_t iterations, std::streambuf* report) {
  Nowhere nowhere;
  std::ostream progress(&nowhere);
  std::ostream output(report != nullptr ? report : &nowhere);
  rl::test_params params;
  params.search_type = rl::random_scheduler_type;
  params.iteration_count = iterations;
  params.output_stream = &output;
  params.progress_stream = &progress;
  rl::simulate<Suite>(params);
  return {params.test_result, params.stop_iteration};
}

template <typename Suite>
void expect_correct(const char* what, uint64_t iterations) {
  const ModelResult result = simulate<Suite>(iterations, nullptr);
  testing::note(std::string(what) + ": " + std::to_string(result.iterations) + " interleavings, " +
                rl::test_result_str(result.result));
  // The choices are those of a fixed seed: the second run tells how the first one failed.
  if (result.result != rl::test_result_success) simulate<Suite>(iterations, std::cout.rdbuf());
  EXPECT(result.result == rl::test_result_success);
}

// The suite has a fault: relacy must find it.
template <typename Suite>
void expect_found(const char* what, uint64_t iterations) {
  const ModelResult result = simulate<Suite>(iterations, nullptr);
  testing::note(std::string(what) + ": found at interleaving " + std::to_string(result.iterations) +
                ", " + rl::test_result_str(result.result));
  EXPECT(result.result != rl::test_result_success);
}

}  // namespace pelton
