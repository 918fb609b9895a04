#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "csrc/memory/allocator.h"
#include "csrc/memory/arena.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(allocator_gives_aligned_memory_and_counts_it) {
  Allocator allocator(cpu_device(), {});
  {
    MemoryBlock small = allocator.allocate(1).value();
    MemoryBlock large = allocator.allocate(size_t{3} << 20).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(small.data()) % kMemoryAlignment, uintptr_t{0});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(large.data()) % kMemoryAlignment, uintptr_t{0});
    std::memset(large.data(), 1, large.bytes());
    EXPECT_EQ(allocator.stats().bytes_in_use, (uint64_t{3} << 20) + 1);
    MemoryBlock moved = std::move(small);
    EXPECT(small.data() == nullptr);
    moved = std::move(large);  // gives the small one back
    EXPECT_EQ(allocator.stats().bytes_in_use, uint64_t{3} << 20);
  }
  EXPECT_EQ(allocator.stats().bytes_in_use, uint64_t{0});
  EXPECT_EQ(allocator.stats().bytes_peak, (uint64_t{3} << 20) + 1);
  EXPECT_EQ(allocator.stats().allocations_total, uint64_t{2});
}

TEST(allocator_refuses_what_is_over_its_cap) {
  Allocator allocator(cpu_device(), {1000});
  MemoryBlock block = allocator.allocate(600).value();
  const Result<MemoryBlock> refused = allocator.allocate(401);
  EXPECT(refused.status().code() == StatusCode::kOutOfMemory);
  EXPECT(refused.status().message().find("401 bytes asked, 600 in use, at most 1000") !=
         std::string_view::npos);
  EXPECT_EQ(allocator.stats().refusals_total, uint64_t{1});
  EXPECT_EQ(allocator.stats().bytes_in_use, uint64_t{600});
  EXPECT_OK(allocator.allocate(400));
}

TEST(allocator_refuses_what_the_device_lacks) {
  Allocator allocator(cpu_device(), {});
  const Result<MemoryBlock> refused = allocator.allocate(size_t{1} << 62);
  EXPECT(refused.status().code() == StatusCode::kOutOfMemory);
  EXPECT_EQ(allocator.stats().bytes_in_use, uint64_t{0});
}

TEST(allocator_counts_right_from_many_threads) {
  Allocator allocator(cpu_device(), {100'000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const Result<MemoryBlock> block = allocator.allocate(30'000);
        EXPECT(allocator.stats().bytes_in_use <= 100'000);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allocator.stats().bytes_in_use, uint64_t{0});
  EXPECT(allocator.stats().bytes_peak <= 100'000);
}

TEST(arena_grows_and_then_stays) {
  Allocator allocator(cpu_device(), {});
  Arena arena(allocator);
  EXPECT_OK(arena.reserve(100));
  EXPECT(arena.bytes() >= 100);
  EXPECT_OK(arena.reserve(120));
  EXPECT_EQ(arena.bytes(), size_t{150});  // by half
  const std::byte* data = arena.data();
  EXPECT_OK(arena.reserve(150));
  EXPECT(arena.data() == data);
  EXPECT_EQ(allocator.stats().allocations_total, uint64_t{2});
}

TEST(arena_takes_just_what_is_asked_when_the_cap_is_near) {
  Allocator allocator(cpu_device(), {1000});
  Arena arena(allocator);
  EXPECT_OK(arena.reserve(800));
  EXPECT_OK(arena.reserve(900));
  EXPECT_EQ(arena.bytes(), size_t{900});
  EXPECT(arena.reserve(1001).code() == StatusCode::kOutOfMemory);
  EXPECT_EQ(arena.bytes(), size_t{0});
  EXPECT_OK(arena.reserve(10));
}

}  // namespace
}  // namespace pelton
