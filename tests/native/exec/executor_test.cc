// The executor's laws on tiny plans: the same bits alone, in any batch and with any number of
// threads; no allocation once warm; requests that a plan cannot take are refused by name. Its
// numbers are checked against a float64 encoder from Python (tests/python/bridge) and kernel by
// kernel (tests/native/kernels).
#include "csrc/exec/executor.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <random>
#include <thread>

#include "csrc/base/cpu_features.h"
#include "tests/native/plan/plan_image.h"
#include "tests/native/test.h"

namespace {
std::atomic<int64_t> allocation_count{0};
}  // namespace

void* operator new(std::size_t bytes) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes ? bytes : 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace pelton {
namespace {

using plan_format::kDimRows;
using plan_format::kDimTokens;
using plan_format::kNoTensor;
using plan_format::Op;
using plan_format::TensorLayout;
using plan_format::TensorRole;
using plan_test::MemoryFile;
using plan_test::PlanImage;

constexpr int64_t kHidden = 64;
constexpr int64_t kVocabulary = 50;
constexpr int64_t kPositions = 40;

// embedding, then twice (norm, qkv, attention, out + residual, gelu(up), down + residual), mean,
// normalize.
PlanImage deep_encoder_image() {
  std::vector<PlanImage::Tensor> tensors;
  std::vector<PlanImage::Instruction> instructions;
  const auto add = [&](TensorRole role, std::vector<int64_t> dims, DType dtype = DType::kFp32,
                       TensorLayout layout = TensorLayout::kRowMajor) {
    tensors.push_back({"t" + std::to_string(tensors.size()), role, std::move(dims), dtype, layout});
    return static_cast<int32_t>(tensors.size() - 1);
  };
  const auto weight = [&](std::vector<int64_t> dims) {
    return add(TensorRole::kWeight, std::move(dims));
  };
  const auto tokens = [&](int64_t columns) {
    return add(TensorRole::kIntermediate, {kDimTokens, columns});
  };
  const auto gemm = [&](int32_t x, int64_t k, int64_t n, int32_t residual, int64_t activation) {
    const int32_t w = add(TensorRole::kWeight, {k, n}, DType::kFp32, TensorLayout::kPanels16);
    const int32_t y = tokens(n);
    instructions.push_back({Op::kGemm, {x, w, weight({n}), residual}, y, activation});
    return y;
  };
  const int32_t ids = add(TensorRole::kInput, {kDimTokens}, DType::kInt32);
  int32_t x = tokens(kHidden);
  instructions.push_back(
      {Op::kEmbedding,
       {ids, weight({kVocabulary, kHidden}), weight({kPositions, kHidden}), kNoTensor, kNoTensor},
       x});
  for (int layer = 0; layer < 2; ++layer) {
    const int32_t normed = tokens(kHidden);
    instructions.push_back(
        {Op::kLayerNorm, {x, weight({kHidden}), weight({kHidden})}, normed, 0, 1e-5});
    const int32_t qkv = gemm(normed, kHidden, 3 * kHidden, kNoTensor, 0);
    const int32_t mixed = tokens(kHidden);
    instructions.push_back({Op::kRaggedAttention, {qkv}, mixed, 4, 0.25});
    const int32_t out = gemm(mixed, kHidden, kHidden, normed, 0);
    const int32_t up = gemm(out, kHidden, 200, kNoTensor, 2);
    x = gemm(up, 200, kHidden, out, 0);
  }
  const int32_t pooled = add(TensorRole::kIntermediate, {kDimRows, kHidden});
  instructions.push_back({Op::kPool, {x}, pooled, 0});
  const int32_t embedding = add(TensorRole::kOutput, {kDimRows, kHidden});
  instructions.push_back({Op::kL2Normalize, {pooled}, embedding, 0, 1e-12});
  return PlanImage(true, tensors, instructions);
}

struct Ragged {
  std::vector<int32_t> ids;
  std::vector<int32_t> lengths;
  std::vector<float> out;
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;
  RequestView view;

  explicit Ragged(std::vector<int32_t> row_lengths, uint64_t seed)
      : lengths(std::move(row_lengths)) {
    std::mt19937_64 random(seed);
    const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    for (int64_t t = 0; t < tokens; ++t)
      ids.push_back(static_cast<int32_t>(random() % kVocabulary));
    out.assign(lengths.size() * kHidden, std::numeric_limits<float>::quiet_NaN());
    bind();
  }
  void bind() {
    inputs = {reinterpret_cast<const std::byte*>(ids.data())};
    outputs = {reinterpret_cast<std::byte*>(out.data())};
    view.row_count = static_cast<int64_t>(lengths.size());
    view.token_count = static_cast<int64_t>(ids.size());
    view.lengths = lengths;
    view.inputs = inputs;
    view.outputs = outputs;
  }
};

struct Harness {
  Team team;
  Allocator allocator;
  std::unique_ptr<Executor> executor;

  Harness(std::shared_ptr<const Plan> plan, int threads, uint64_t bytes_max = UINT64_MAX)
      : team({.thread_count = threads}), allocator(cpu_device(), {bytes_max}) {
    const auto features = detect_cpu_features();
    ExecutorOptions options{
        &team, threads, &allocator,
        kernels::select_kernels(features, choose_isa(features, nullptr).value())};
    executor = Executor::create(std::move(plan), options).value();
  }
  Status run(const std::vector<const RequestView*>& requests) {
    BatchView batch{requests, 0, 0};
    for (const RequestView* request : requests) {
      batch.row_count += request->row_count;
      batch.token_count += request->token_count;
    }
    return executor->run(batch);
  }
};

std::shared_ptr<const Plan> open_deep_encoder() {
  MemoryFile file;
  file.write(deep_encoder_image().bytes());
  return file.open().value();
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<int32_t> random_lengths(std::mt19937_64& random, size_t rows) {
  std::vector<int32_t> lengths(rows);
  for (int32_t& length : lengths) length = 1 + static_cast<int32_t>(random() % kPositions);
  return lengths;
}

TEST(executor_gives_a_row_the_same_bits_alone_in_any_batch_on_any_threads) {
  const auto plan = open_deep_encoder();
  std::mt19937_64 random(testing::seed());
  Harness alone(plan, 1);
  for (const int threads : {1, 2, 3}) {
    Harness harness(plan, threads);
    for (const size_t request_count : {1, 2, 5, 30}) {
      std::vector<Ragged> requests;
      for (size_t i = 0; i < request_count; ++i) {
        requests.emplace_back(random_lengths(random, 1 + random() % 4), random());
      }
      std::vector<const RequestView*> views;
      for (Ragged& request : requests) {
        request.bind();
        EXPECT_OK(harness.executor->check(request.view));
        views.push_back(&request.view);
      }
      EXPECT_OK(harness.run(views));
      for (const Ragged& request : requests) {
        size_t token = 0;
        for (size_t row = 0; row < request.lengths.size(); ++row) {
          Ragged single({request.lengths[row]}, 0);
          const auto length = static_cast<size_t>(request.lengths[row]);
          single.ids.assign(request.ids.begin() + static_cast<int64_t>(token),
                            request.ids.begin() + static_cast<int64_t>(token + length));
          single.bind();
          EXPECT_OK(alone.run({&single.view}));
          const auto begin = request.out.begin() + static_cast<int64_t>(row * kHidden);
          EXPECT(same_bits({begin, begin + kHidden}, single.out));
          token += length;
        }
      }
    }
  }
}

// A hook that runs a batch of another executor on the same rank, every `period`-th time.
struct Intruder {
  Harness* harness;
  Ragged* request;
  std::vector<float> expected;
  int period;
  int calls = 0;

  static void call(void* context) {
    Intruder& self = *static_cast<Intruder*>(context);
    if (++self.calls % self.period != 0) return;
    self.request->out.assign(self.request->out.size(), 0.0f);
    const RequestView* view = &self.request->view;
    const BatchView batch{{&view, 1}, view->row_count, view->token_count};
    EXPECT_OK(self.harness->executor->run(batch, {.lane = &self.harness->team.front()}));
    EXPECT(same_bits(self.request->out, self.expected));
  }
};

TEST(executor_gives_the_same_bits_in_parts_with_another_inside_and_on_the_back_lane) {
  const auto plan = open_deep_encoder();
  std::mt19937_64 random(testing::seed());
  Harness whole(plan, 2);
  Harness parts(plan, 2);
  Harness other(plan, 1);
  Ragged small({3, 5}, 7);
  EXPECT_OK(other.run({&small.view}));
  for (const size_t rows : {1, 3, 20}) {
    Ragged request(random_lengths(random, rows), random());
    EXPECT_OK(whole.run({&request.view}));
    const std::vector<float> expected = request.out;
    const RequestView* view = &request.view;
    const BatchView batch{{&view, 1}, view->row_count, view->token_count};

    Intruder intruder{&other, &small, small.out, 3};
    for (const bool finely : {false, true}) {
      intruder.calls = 0;
      request.out.assign(request.out.size(), 0.0f);
      EXPECT_OK(parts.executor->run(
          batch,
          {.lane = &parts.team.front(), .yield = {&Intruder::call, &intruder}, .finely = finely}));
      EXPECT(same_bits(request.out, expected));
      // Between its 15 instructions at least.
      EXPECT(intruder.calls >= 14);
    }

    request.out.assign(request.out.size(), 0.0f);
    struct Back {
      Harness* harness;
      const BatchView* batch;
      std::atomic<bool> is_over{false};
    } back{&parts, &batch};
    parts.team.post(
        1,
        [](void* context) {
          Back& self = *static_cast<Back*>(context);
          EXPECT_OK(self.harness->executor->run(*self.batch, {.lane = &self.harness->team.back()}));
          self.is_over.store(true, std::memory_order_release);
        },
        &back);
    while (!back.is_over.load(std::memory_order_acquire)) std::this_thread::yield();
    EXPECT(same_bits(request.out, expected));
  }
}

// embedding-less: one GEMM that is far over what may run without a look at the others.
TEST(executor_cuts_a_large_gemm_where_it_must_be_short) {
  constexpr int64_t kWide = 2048;
  const std::vector<PlanImage::Tensor> tensors = {
      {"x", TensorRole::kInput, {kDimRows, kWide}, DType::kFp32, TensorLayout::kRowMajor},
      {"w", TensorRole::kWeight, {kWide, kWide}, DType::kFp32, TensorLayout::kPanels16},
      {"b", TensorRole::kWeight, {kWide}, DType::kFp32, TensorLayout::kRowMajor},
      {"y", TensorRole::kOutput, {kDimRows, kWide}, DType::kFp32, TensorLayout::kRowMajor}};
  MemoryFile file;
  file.write(PlanImage(false, tensors, {{Op::kGemm, {0, 1, 2, kNoTensor}, 3, 0}}).bytes());
  Harness harness(file.open().value(), 1);
  constexpr int64_t kRows = 16;
  std::vector<float> x(kRows * kWide);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6.0f;
  const std::byte* input = reinterpret_cast<const std::byte*>(x.data());
  std::array<std::vector<float>, 2> y;
  std::array<int, 2> calls{};
  for (const bool finely : {false, true}) {
    y[finely].assign(x.size(), 0.0f);
    std::byte* output = reinterpret_cast<std::byte*>(y[finely].data());
    const RequestView view{kRows, kRows, {}, {&input, 1}, {&output, 1}};
    const RequestView* views = &view;
    EXPECT_OK(harness.executor->run(
        {{&views, 1}, kRows, kRows},
        {.lane = &harness.team.front(),
         .yield = {[](void* count) { ++*static_cast<int*>(count); }, &calls[finely]},
         .finely = finely}));
  }
  EXPECT(same_bits(y[0], y[1]));
  EXPECT(calls[0] >= 1);
  EXPECT(calls[1] >= 3 * calls[0]);
}

TEST(executor_allocates_nothing_once_warm) {
  const auto plan = open_deep_encoder();
  std::mt19937_64 random(testing::seed());
  Harness harness(plan, 2);
  Ragged large(std::vector<int32_t>(32, kPositions), 1);
  EXPECT_OK(harness.run({&large.view}));
  std::vector<Ragged> requests;
  for (int i = 0; i < 20; ++i)
    requests.emplace_back(random_lengths(random, 1 + random() % 20), random());
  for (Ragged& request : requests) request.bind();
  // One long sequence lays the arena out for all ranks together; warm that layout too.
  Ragged single({kPositions}, 2);
  EXPECT_OK(harness.run({&single.view}));
  const int64_t before = allocation_count.load();
  const uint64_t blocks_before = harness.allocator.stats().allocations_total;
  std::vector<const RequestView*> views(1);
  const int64_t for_views = allocation_count.load() - before;
  for (const Ragged& request : requests) {
    views[0] = &request.view;
    BatchView batch{views, request.view.row_count, request.view.token_count};
    EXPECT_OK(harness.executor->run(batch));
  }
  EXPECT_EQ(allocation_count.load() - before - for_views, 0);
  EXPECT_EQ(harness.allocator.stats().allocations_total, blocks_before);
}

TEST(executor_skips_outputs_that_are_not_wanted) {
  Harness harness(open_deep_encoder(), 1);
  Ragged request({3, 4}, 5);
  request.outputs[0] = nullptr;
  EXPECT_OK(harness.run({&request.view}));
  EXPECT(std::isnan(request.out[0]));
}

TEST(executor_over_its_memory_cap_fails_and_goes_on) {
  Harness harness(open_deep_encoder(), 1, 200'000);
  Ragged large(std::vector<int32_t>(32, kPositions), 1);
  EXPECT(harness.run({&large.view}).code() == StatusCode::kOutOfMemory);
  Ragged small({2}, 1);
  EXPECT_OK(harness.run({&small.view}));
  EXPECT(!std::isnan(small.out[0]));
}

TEST(executor_refuses_requests_that_the_plan_cannot_take) {
  Harness harness(open_deep_encoder(), 1);
  const auto refused = [&](Ragged& request, const char* part) {
    const Status status = harness.executor->check(request.view);
    EXPECT(status.code() == StatusCode::kInvalidArgument);
    EXPECT(status.message().find(part) != std::string_view::npos);
  };
  Ragged too_long({kPositions + 1}, 1);
  refused(too_long, "expected 1 to 40 tokens, got 41");
  Ragged empty_row({3, 0}, 1);
  refused(empty_row, "row 1: expected 1 to 40 tokens, got 0");
  Ragged bad_id({3}, 1);
  bad_id.ids[2] = kVocabulary;
  refused(bad_id, "token 2: expected 0 to 49, got 50");
  Ragged negative({3}, 1);
  negative.ids[0] = -1;
  refused(negative, "token 0: expected 0 to 49, got -1");
  Ragged miscounted({3}, 1);
  miscounted.view.token_count = 4;
  refused(miscounted, "expected 3 tokens in all, got 4");
  Ragged no_output({3}, 1);
  no_output.view.outputs = {};
  refused(no_output, "expected 1 inputs and 1 outputs, got 1 and 0");
}

TEST(executor_runs_dense_plans_with_the_same_bits_in_any_batch) {
  MemoryFile file;
  file.write(plan_test::dense_image().bytes());
  const auto plan = file.open().value();
  std::vector<float> x(40 * 3);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 11) - 5.0f;
  const auto run = [&](Harness& harness, int64_t first, int64_t rows) {
    std::vector<float> y(static_cast<size_t>(rows) * 5);
    const std::byte* input = reinterpret_cast<const std::byte*>(x.data() + first * 3);
    std::byte* output = reinterpret_cast<std::byte*>(y.data());
    const RequestView view{rows, rows, {}, {&input, 1}, {&output, 1}};
    EXPECT_OK(harness.executor->check(view));
    EXPECT_OK(harness.run({&view}));
    return y;
  };
  Harness one(plan, 1);
  Harness two(plan, 2);
  const std::vector<float> whole = run(two, 0, 40);
  for (int64_t row = 0; row < 40; ++row) {
    const auto begin = whole.begin() + row * 5;
    EXPECT(same_bits({begin, begin + 5}, run(one, row, 1)));
  }
}

}  // namespace
}  // namespace pelton
