// Plans that open, what they hand out, and files that are no plans.
#include "csrc/plan/plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tests/native/plan/plan_image.h"
#include "tests/native/test.h"

namespace pelton::plan_test {
namespace {

std::shared_ptr<const Plan> open_whole(MemoryFile& file, PlanImage image) {
  file.write(image.bytes());
  auto plan = file.open();
  EXPECT_OK(plan);
  return plan.ok() ? plan.value() : nullptr;
}

}  // namespace

TEST(plan_open_gives_what_the_file_holds) {
  MemoryFile file;
  PlanImage image = encoder_image();
  const auto plan = open_whole(file, image);
  ASSERT(plan != nullptr);
  EXPECT(plan->ragged());
  EXPECT_EQ(plan->metadata(), R"({"name":"tiny"})");
  EXPECT_EQ(plan->tensors().size(), 22);
  EXPECT_EQ(plan->instructions().size(), 10);
  EXPECT_EQ(plan->file_bytes(), image.bytes().size());
  EXPECT_EQ(plan->weight_bytes(), image.section(kWeights).bytes);
  EXPECT_EQ(std::vector(plan->inputs().begin(), plan->inputs().end()),
            std::vector<int32_t>({kIds, kTypeIds}));
  EXPECT_EQ(std::vector(plan->outputs().begin(), plan->outputs().end()),
            std::vector<int32_t>({kEmbedding}));
  ASSERT_EQ(plan->attachments().size(), 1);
  EXPECT_EQ(plan->attachments()[0].name, "labels.txt");
  EXPECT_EQ(plan->attachments()[0].bytes.size(), 7);
  const PlanInstruction& gemm = plan->instructions()[kOutGemm];
  EXPECT(gemm.op == plan_format::Op::kGemm);
  EXPECT_EQ(gemm.inputs, std::vector<int32_t>({kContext, kOutWeight, kOutBias, kNormed}));
  EXPECT_EQ(gemm.outputs, std::vector<int32_t>({kAttended}));
  EXPECT_EQ(plan->instructions()[kAttend].ints[0], 2);
  EXPECT_NEAR(plan->instructions()[kAttend].floats[0], 0.5, 0);
}

TEST(plan_weights_are_aligned_and_in_the_file) {
  MemoryFile file;
  PlanImage image = encoder_image();
  const auto plan = open_whole(file, image);
  ASSERT(plan != nullptr);
  const std::byte* weights = image.bytes().data() + image.section(kWeights).offset;
  for (size_t index = 0; index < plan->tensors().size(); ++index) {
    const PlanTensor& tensor = plan->tensors()[index];
    const bool is_weight = tensor.role == plan_format::TensorRole::kWeight;
    EXPECT_EQ(tensor.weight != nullptr, is_weight);
    if (!is_weight) continue;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.weight) % 64, 0);
    const std::byte* expected = weights + image.tensor(index).weight_offset;
    EXPECT(std::equal(expected, expected + tensor.weight_bytes, tensor.weight));
  }
}

TEST(plan_dense_opens) {
  MemoryFile file;
  const auto plan = open_whole(file, dense_image());
  ASSERT(plan != nullptr);
  EXPECT(!plan->ragged());
  EXPECT_EQ(plan->tensors()[0].dims, std::vector<int64_t>({plan_format::kDimRows, 3}));
}

TEST(plan_optional_operands_may_be_absent) {
  PlanImage image = encoder_image();
  image.instruction(kEmbed).tensors[2] = plan_format::kNoTensor;  // no positions
  image.instruction(kEmbed).ints[0] = 0;
  image.instruction(kEmbed).tensors[3] = plan_format::kNoTensor;  // no types
  image.instruction(kEmbed).tensors[4] = plan_format::kNoTensor;
  image.instruction(kQkvGemm).tensors[2] = plan_format::kNoTensor;  // no bias
  image.seal();
  MemoryFile file;
  EXPECT(open_whole(file, image) != nullptr);
}

TEST(plan_weight_checksums_are_verified_up_to_the_limit) {
  PlanImage image = encoder_image();
  const uint64_t weights_bytes = image.section(kWeights).bytes;
  image.bytes()[image.section(kWeights).offset + 5] ^= std::byte{1};
  MemoryFile file;
  file.write(image.bytes());
  const auto at_limit = file.open(weights_bytes);
  ASSERT(!at_limit.ok());
  EXPECT_EQ(at_limit.status().code(), StatusCode::kCorruptPlan);
  EXPECT(at_limit.status().message().find("weights at byte ") != std::string::npos);
  const auto over_limit = file.open(weights_bytes - 1);
  ASSERT_OK(over_limit);
  const Status verified = over_limit.value()->verify_weights();
  EXPECT_EQ(verified.code(), StatusCode::kCorruptPlan);
}

TEST(plan_verify_weights_accepts_whole_ones) {
  MemoryFile file;
  const auto plan = open_whole(file, encoder_image());
  ASSERT(plan != nullptr);
  EXPECT_OK(plan->verify_weights());
}

TEST(plan_outlives_its_name) {
  std::string path = "/tmp/pelton-plan-test-XXXXXX";
  const int descriptor = ::mkstemp(path.data());
  ASSERT(descriptor >= 0);
  PlanImage image = dense_image();
  const ssize_t written = ::write(descriptor, image.bytes().data(), image.bytes().size());
  ::close(descriptor);
  auto plan = Plan::open(path, {});
  ::unlink(path.c_str());
  ASSERT_EQ(written, static_cast<ssize_t>(image.bytes().size()));
  ASSERT_OK(plan);
  EXPECT_OK(plan.value()->verify_weights());
}

TEST(plan_missing_file_is_not_found) {
  const auto plan = Plan::open("/nonexistent/x.plan", {});
  ASSERT(!plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kNotFound);
  EXPECT(plan.status().message().find("/nonexistent/x.plan") != std::string_view::npos);
}

TEST(plan_folder_and_pipe_are_not_found) {
  EXPECT_EQ(Plan::open("/", {}).status().code(), StatusCode::kNotFound);
  std::string folder = "/tmp/pelton-plan-test-XXXXXX";
  ASSERT(::mkdtemp(folder.data()) != nullptr);
  const std::string pipe = folder + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(Plan::open(pipe, {}).status().code(), StatusCode::kNotFound);  // and does not hang
  ::unlink(pipe.c_str());
  ::rmdir(folder.c_str());
}

TEST(plan_empty_file_is_corrupt) {
  MemoryFile file;
  const auto plan = file.open();
  ASSERT(!plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kCorruptPlan);
}

}  // namespace pelton::plan_test
