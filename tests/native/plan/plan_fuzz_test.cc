// Damaged and hostile plans. Without checksums put right, every change of any byte must be found;
// with them, open() may accept what is still valid, and then an executor that trusts it blindly
// must stay inside every tensor.
#include <algorithm>
#include <random>

#include "tests/native/plan/plan_image.h"
#include "tests/native/plan/trusting_executor.h"
#include "tests/native/test.h"

namespace pelton::plan_test {
namespace {

bool is_refusal(const Status& status) {
  return status.code() == StatusCode::kCorruptPlan || status.code() == StatusCode::kUnsupported;
}

// Opens and, where that succeeds, executes. True when the plan was accepted.
bool survive(const MemoryFile& file) {
  const auto plan = file.open();
  if (!plan.ok()) {
    EXPECT(is_refusal(plan.status()) && !plan.status().message().empty());
    return false;
  }
  execute_trusting(*plan.value());
  return true;
}

template <typename Value>
void overwrite(PlanImage& image, uint64_t at, Value value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  const size_t count = std::min<size_t>(sizeof(value), image.bytes().size() - at);
  std::copy(bytes, bytes + count, image.bytes().begin() + static_cast<ptrdiff_t>(at));
}

// Where the weights begin: before it is structure.
uint64_t structure_end(PlanImage image) {
  return image.section(kAttachment).offset + image.section(kAttachment).bytes;
}

// One hostile change to the first `end` bytes.
void mutate(PlanImage& image, uint64_t end, std::mt19937_64& random) {
  constexpr uint64_t kValues[] = {0,  1,   2,   3,    7,       16,         63,         64,
                                  65, 128, 255, 4096, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
  constexpr uint64_t kWide[] = {
      ~uint64_t{0},      ~uint64_t{0} - 1,  uint64_t{1} << 31,       uint64_t{1} << 36,
      uint64_t{1} << 62, uint64_t{1} << 63, (uint64_t{1} << 63) - 1, ~uint64_t{0} - 4095};
  const uint64_t at = random() % end;
  switch (random() % 5) {
    case 0:
      overwrite(image, at, static_cast<uint8_t>(random()));
      break;
    case 1:
      overwrite(image, at & ~uint64_t{1}, static_cast<uint16_t>(kValues[random() % 16]));
      break;
    case 2:
      overwrite(image, at & ~uint64_t{3}, static_cast<uint32_t>(kValues[random() % 16]));
      break;
    case 3:
      overwrite(image, at & ~uint64_t{7}, kValues[random() % 16]);
      break;
    default:
      overwrite(image, at & ~uint64_t{7}, kWide[random() % 8]);
  }
}

// A change that leaves records well-formed more often: one small field of a tensor or instruction.
void mutate_field(PlanImage& image, std::mt19937_64& random) {
  const size_t tensor_count = image.section(kTensors).bytes / sizeof(plan_format::TensorRecord);
  const size_t instruction_count =
      image.section(kInstructions).bytes / sizeof(plan_format::InstructionRecord);
  auto& tensor = image.tensor(random() % tensor_count);
  auto& instruction = image.instruction(random() % instruction_count);
  const auto index = static_cast<int32_t>(random() % (tensor_count + 1)) - 1;
  switch (random() % 9) {
    case 0:
      tensor.role = static_cast<uint8_t>(random() % 4);
      break;
    case 1:
      tensor.rank = static_cast<uint8_t>(random() % 4);
      break;
    case 2:
      tensor.dims[random() % 3] = static_cast<int64_t>(random() % 20) - 2;
      break;
    case 3:
      tensor.layout ^= 1;
      break;
    case 4:
      tensor.weight_offset = random() % 40 * 64;
      break;
    case 5:
      instruction.op = static_cast<uint16_t>(random() % 10);
      break;
    case 6:
      instruction.tensors[random() % 6] = index;
      break;
    case 7:
      instruction.ints[0] = static_cast<int64_t>(random() % 9) - 1;
      break;
    default:
      instruction.floats[0] = static_cast<double>(random() % 3) - 1;
  }
}

}  // namespace

TEST(plan_fuzz_every_flipped_byte_is_found) {
  const PlanImage whole = encoder_image();
  MemoryFile file;
  for (const unsigned mask : {0x01U, 0x80U, 0xFFU}) {
    PlanImage image = whole;
    for (size_t at = 0; at < image.bytes().size(); ++at) {
      image.bytes()[at] ^= std::byte(mask);
      file.write(image.bytes());
      const auto plan = file.open();
      if (!EXPECT(!plan.ok() && is_refusal(plan.status()))) {
        testing::note("byte " + std::to_string(at) + ", mask " + std::to_string(mask));
        return;
      }
      image.bytes()[at] ^= std::byte(mask);
    }
  }
}

TEST(plan_fuzz_every_truncation_is_found) {
  PlanImage image = encoder_image();
  MemoryFile file;
  while (!image.bytes().empty()) {
    image.bytes().pop_back();
    file.write(image.bytes());
    const auto plan = file.open();
    if (!EXPECT(!plan.ok() && plan.status().code() == StatusCode::kCorruptPlan)) return;
  }
}

TEST(plan_fuzz_flipped_bytes_with_right_checksums) {
  const PlanImage whole = encoder_image();
  MemoryFile file;
  int accepted = 0;
  for (const unsigned mask : {0x01U, 0x04U, 0x80U, 0xFFU}) {
    for (size_t at = 0; at < PlanImage(whole).bytes().size(); ++at) {
      PlanImage image = whole;
      image.bytes()[at] ^= std::byte(mask);
      image.seal();
      file.write(image.bytes());
      accepted += survive(file) ? 1 : 0;
    }
  }
  EXPECT(accepted > 0);  // weights and names at least; else the test would test checksums
  testing::note(std::to_string(accepted) + " accepted and executed");
}

TEST(plan_fuzz_truncations_with_right_checksums) {
  const PlanImage whole = dense_image();
  MemoryFile file;
  const size_t table_end = sizeof(plan_format::PlanHeader) + 6 * sizeof(plan_format::SectionRecord);
  for (size_t size = PlanImage(whole).bytes().size() - 1; size >= table_end; --size) {
    PlanImage image = whole;
    image.bytes().resize(size);
    image.header().file_bytes = size;
    image.seal();
    file.write(image.bytes());
    EXPECT(!survive(file));
  }
}

// One field at a time, every value that could be confused with a right one.
TEST(plan_fuzz_every_small_value_of_every_field) {
  const PlanImage whole = encoder_image();
  MemoryFile file;
  int accepted = 0;
  const auto attempt = [&](const auto& change) {
    PlanImage image = whole;
    change(image);
    image.seal();
    file.write(image.bytes());
    accepted += survive(file) ? 1 : 0;
  };
  for (size_t index = kIds; index <= kEmbedding; ++index) {
    for (int64_t value = -3; value < 20; ++value) {
      for (size_t axis = 0; axis < 3; ++axis) {
        attempt([&](PlanImage& image) { image.tensor(index).dims[axis] = value; });
      }
      const auto small = static_cast<uint8_t>(value);
      attempt([&](PlanImage& image) { image.tensor(index).role = small; });
      attempt([&](PlanImage& image) { image.tensor(index).dtype = small; });
      attempt([&](PlanImage& image) { image.tensor(index).rank = small; });
      attempt([&](PlanImage& image) { image.tensor(index).layout = small; });
      attempt([&](PlanImage& image) { image.tensor(index).weight_section = small; });
      attempt([&](PlanImage& image) { image.tensor(index).weight_offset = small * 64U; });
    }
  }
  for (size_t index = kEmbed; index <= kNormalize; ++index) {
    for (int32_t value = -2; value <= kEmbedding + 1; ++value) {
      for (size_t slot = 0; slot < 6; ++slot) {
        attempt([&](PlanImage& image) { image.instruction(index).tensors[slot] = value; });
      }
      attempt([&](PlanImage& image) { image.instruction(index).ints[0] = value; });
      attempt([&](PlanImage& image) { image.instruction(index).floats[0] = value; });
      const auto small = static_cast<uint8_t>(value);
      attempt([&](PlanImage& image) { image.instruction(index).op = small; });
      attempt([&](PlanImage& image) { image.instruction(index).input_count = small; });
      attempt([&](PlanImage& image) { image.instruction(index).output_count = small; });
    }
  }
  EXPECT(accepted > 100);
  testing::note(std::to_string(accepted) + " accepted and executed");
}

TEST(plan_fuzz_random_changes_with_right_checksums) {
  std::mt19937_64 random(testing::seed());
  const PlanImage images[] = {encoder_image(), dense_image()};
  const uint64_t ends[] = {structure_end(images[0]), structure_end(images[1])};
  MemoryFile file;
  int accepted = 0;
  for (int round = 0; round < 40000; ++round) {
    PlanImage image = images[round % 2];
    for (uint64_t change = random() % 3 + 1; change > 0; --change) {
      round % 4 < 2 ? mutate_field(image, random) : mutate(image, ends[round % 2], random);
    }
    image.seal();
    file.write(image.bytes());
    accepted += survive(file) ? 1 : 0;
  }
  EXPECT(accepted > 100);
  testing::note(std::to_string(accepted) + " accepted and executed");
}

}  // namespace pelton::plan_test
