// Each rule of format.h: a plan that breaks it, sealed with right checksums, is refused with a
// message that names the field, what was expected and what came.
#include <cmath>
#include <functional>
#include <limits>

#include "tests/native/plan/plan_image.h"
#include "tests/native/test.h"

namespace pelton::plan_test {
namespace {

using plan_format::kNoTensor;
using Bend = std::function<void(PlanImage&)>;

struct Case {
  const char* expected;  // in the message
  Bend bend;
};

void expect_refused(PlanImage (*make)(), const std::vector<Case>& cases) {
  MemoryFile file;
  for (const Case& item : cases) {
    PlanImage image = make();
    item.bend(image);
    image.seal();
    file.write(image.bytes());
    const auto plan = file.open();
    if (!EXPECT(!plan.ok())) {
      testing::note(std::string("accepted: ") + item.expected);
      continue;
    }
    EXPECT_EQ(plan.status().code(), StatusCode::kCorruptPlan);
    if (!EXPECT(plan.status().message().find(item.expected) != std::string_view::npos)) {
      testing::note("expected '" + std::string(item.expected) + "' in '" +
                    std::string(plan.status().message()) + "'");
    }
  }
}

// REQUIRES: a slot that the instruction uses.
void set_operand(PlanImage& image, size_t instruction, size_t slot, int32_t tensor) {
  image.instruction(instruction).tensors[slot] = tensor;
}

}  // namespace

TEST(plan_rules_header) {
  expect_refused(
      encoder_image,
      {{"magic: expected a Pelton plan", [](auto& p) { p.header().magic[0] = 'X'; }},
       {"header_bytes: expected 128, got 129", [](auto& p) { p.header().header_bytes = 129; }},
       {"file_bytes: expected ", [](auto& p) { p.header().file_bytes += 1; }},
       {"file_bytes: expected ", [](auto& p) { p.bytes().resize(p.bytes().size() + 1); }},
       {"section_table_offset: expected 128, got 64",
        [](auto& p) { p.header().section_table_offset = 64; }},
       {"section_count: expected at most 4096, got 4097",
        [](auto& p) { p.header().section_count = 4097; }},
       {"section table bytes: expected at most ", [](auto& p) { p.header().section_count = 4096; }},
       {"batching: expected at most 1, got 2", [](auto& p) { p.header().batching = 2; }},
       {"header reserved: expected zeros, got 3 at byte 71",
        [](auto& p) { p.header().reserved[71] = 3; }}});
}

TEST(plan_rules_another_version_is_unsupported) {
  PlanImage image = encoder_image();
  image.header().format_version = 7;
  MemoryFile file;
  file.write(image.bytes());  // not sealed: the checksum of another version may lie elsewhere
  const auto plan = file.open();
  ASSERT(!plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported);
  const std::string_view message = plan.status().message();
  EXPECT(message.find("version 7, this Pelton reads version 1") != std::string_view::npos);
  EXPECT(message.find("pelton compile") != std::string_view::npos);
}

TEST(plan_rules_sections) {
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max() - 63;
  expect_refused(
      encoder_image,
      {{"section 1: kind: expected 1 to 6, got 0", [](auto& p) { p.section(kStrings).kind = 0; }},
       {"section 1: kind: expected 1 to 6, got 7", [](auto& p) { p.section(kStrings).kind = 7; }},
       {"section 1: metadata: expected one section, got two",
        [](auto& p) { p.section(kStrings).kind = 1; }},
       {"section 1: reserved: expected 0", [](auto& p) { p.section(kStrings).reserved = 1; }},
       {"section 2: offset: expected ", [](auto& p) { p.section(kTensors).offset += 64; }},
       {"section 2: offset: expected ", [](auto& p) { p.section(kTensors).offset = kHuge; }},
       {"section 2: bytes: expected at most ", [](auto& p) { p.section(kTensors).bytes = kHuge; }},
       {"section 0: name_bytes: expected 0, got 4",
        [](auto& p) { p.section(kMetadata).name_bytes = 4; }},
       {"section 0: name_offset: expected 0, got 4",
        [](auto& p) { p.section(kMetadata).name_offset = 4; }},
       {"section 1: gap before it: expected zeros, got 1 at byte 0",
        [](auto& p) {
          p.bytes()[p.section(kMetadata).offset + p.section(kMetadata).bytes] = std::byte{1};
        }},
       {"metadata: expected UTF-8, got other bytes at 2",
        [](auto& p) { p.bytes()[p.section(kMetadata).offset + 2] = std::byte{0xFF}; }},
       {"section 4: name_bytes: expected 1 to 1024, got 0",
        [](auto& p) { p.section(kAttachment).name_bytes = 0; }},
       {"section 4: name_offset + name_bytes: expected at most ",
        [](auto& p) { p.section(kAttachment).name_offset = 0xFFFFFFFF; }},
       {"tensors section bytes: expected ", [](auto& p) { p.section(kTensors).bytes -= 1; }}});
}

TEST(plan_rules_a_missing_section_is_named) {
  expect_refused(encoder_image, {{"instructions: expected one section, got none",
                                  [](auto& p) { p.section(kInstructions).kind = 6; }}});
}

TEST(plan_rules_tensors) {
  constexpr int64_t kBig = int64_t{1} << 31;
  expect_refused(
      encoder_image,
      {{"tensor 0: name_bytes: expected 1 to 1024, got 0",
        [](auto& p) { p.tensor(kIds).name_bytes = 0; }},
       {"tensor 0: name_bytes: expected 1 to 1024, got 1025",
        [](auto& p) { p.tensor(kIds).name_bytes = 1025; }},
       {"tensor 0: name_offset + name_bytes: expected at most ",
        [](auto& p) { p.tensor(kIds).name_offset = 0xFFFFFFFF; }},
       {"tensor 0: name: expected UTF-8 without NUL",
        [](auto& p) { p.bytes()[p.section(kStrings).offset + 11] = std::byte{0}; }},
       {"tensor 1: name: expected a name of its own, got 'ids' again",
        [](auto& p) {
          p.tensor(kTypeIds).name_offset = p.tensor(kIds).name_offset;
          p.tensor(kTypeIds).name_bytes = p.tensor(kIds).name_bytes;
        }},
       {"tensor 0: role: expected at most 3, got 4", [](auto& p) { p.tensor(kIds).role = 4; }},
       {"tensor 0: dtype: expected 1 to 13, got 0", [](auto& p) { p.tensor(kIds).dtype = 0; }},
       {"tensor 0: dtype: expected 1 to 13, got 14", [](auto& p) { p.tensor(kIds).dtype = 14; }},
       {"tensor 0: layout: expected at most 1, got 2", [](auto& p) { p.tensor(kIds).layout = 2; }},
       {"tensor 0: layout of no weight: expected 0", [](auto& p) { p.tensor(kIds).layout = 1; }},
       {"tensor 0: rank: expected 1 to 8, got 0", [](auto& p) { p.tensor(kIds).rank = 0; }},
       {"tensor 0: rank: expected 1 to 8, got 9", [](auto& p) { p.tensor(kIds).rank = 9; }},
       {"tensor 0: dims[0]: expected -1 (rows) or -2 (tokens), got 3",
        [](auto& p) { p.tensor(kIds).dims[0] = 3; }},
       {"tensor 0: dims[3]: expected 0 beyond the rank, got 1",
        [](auto& p) { p.tensor(kIds).dims[3] = 1; }},
       {"tensor 5: dims[1]: expected 1 to 2147483647, got 0",
        [](auto& p) { p.tensor(kSum).dims[1] = 0; }},
       {"tensor 5: dims[1]: expected 1 to 2147483647, got -2",
        [](auto& p) { p.tensor(kSum).dims[1] = -2; }},
       {"tensor 5: dims[1]: expected 1 to 2147483647, got 2147483648",
        [](auto& p) { p.tensor(kSum).dims[1] = kBig; }},
       {"tensor 5: dims: expected at most 68719476736 elements, got [tokens, 2147483647",
        [](auto& p) {
          p.tensor(kSum).rank = 8;
          for (int axis = 1; axis < 8; ++axis) p.tensor(kSum).dims[axis] = kBig - 1;
        }},
       {"tensor 5: weight_bytes of no weight: expected 0, got 4",
        [](auto& p) { p.tensor(kSum).weight_bytes = 4; }},
       {"tensor 5: weight_section of no weight: expected 0, got 5",
        [](auto& p) { p.tensor(kSum).weight_section = 5; }},
       {"tensor 5: weight_offset of no weight: expected 0, got 64",
        [](auto& p) { p.tensor(kSum).weight_offset = 64; }}});
}

TEST(plan_rules_weights) {
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max() - 63;
  expect_refused(encoder_image,
                 {{"tensor 2: dims[0]: expected 1 to 2147483647, got -1",
                   [](auto& p) { p.tensor(kWords).dims[0] = -1; }},
                  {"tensor 2: weight_section: expected a weights section, got 6",
                   [](auto& p) { p.tensor(kWords).weight_section = 6; }},
                  {"tensor 2: weight_section: expected a weights section, got 4",
                   [](auto& p) { p.tensor(kWords).weight_section = kAttachment; }},
                  {"tensor 2: weight_bytes: expected 80, got 84",
                   [](auto& p) { p.tensor(kWords).weight_bytes = 84; }},
                  {"tensor 2: weight_bytes: expected 96, got 80",
                   [](auto& p) { p.tensor(kWords).dims[0] = 6; }},
                  {"tensor 2: weight_bytes: expected 40, got 80",
                   [](auto& p) { p.tensor(kWords).dtype = static_cast<uint8_t>(DType::kFp16); }},
                  {"tensor 9: weight_bytes: expected 192, got 256",
                   [](auto& p) { p.tensor(kQkvWeight).layout = 0; }},
                  {"tensor 9: weight_bytes: expected 512, got 256",
                   [](auto& p) { p.tensor(kQkvWeight).dims[1] = 17; }},
                  {"tensor 2: weight_offset: expected a multiple of 64, got 4",
                   [](auto& p) { p.tensor(kWords).weight_offset = 4; }},
                  {"tensor 2: weight_offset: expected at most ",
                   [](auto& p) { p.tensor(kWords).weight_offset = kHuge; }},
                  {"tensor 6: panels layout: expected FP32 [K, N], got FP32 [4]",
                   [](auto& p) { p.tensor(kGamma).layout = 1; }},
                  {"tensor 9: panels layout: expected FP32 [K, N], got INT32 [4, 12]", [](auto& p) {
                     p.tensor(kQkvWeight).dtype = static_cast<uint8_t>(DType::kInt32);
                   }}});
}

TEST(plan_rules_dense_plans_have_no_tokens) {
  expect_refused(dense_image, {{"tensor 0: dims[0]: expected -1 (rows), got -2",
                                [](auto& p) { p.tensor(0).dims[0] = -2; }}});
}

TEST(plan_rules_instructions) {
  expect_refused(
      encoder_image,
      {{"instruction 0: op: expected 1 to 8, got 0", [](auto& p) { p.instruction(kEmbed).op = 0; }},
       {"instruction 0: op: expected 1 to 8, got 9", [](auto& p) { p.instruction(kEmbed).op = 9; }},
       {"instruction 1 (layer_norm): reserved: expected 0",
        [](auto& p) { p.instruction(kNorm).reserved = 1; }},
       {"instruction 1 (layer_norm): reserved2: expected 0",
        [](auto& p) { p.instruction(kNorm).reserved2 = 1; }},
       {"input_count + output_count: expected at most 12, got 256",
        [](auto& p) { p.instruction(kNorm).input_count = 255; }},
       {"input_count: expected 3, got 2",
        [](auto& p) {
          p.instruction(kNorm).input_count = 2;
          p.instruction(kNorm).output_count = 2;
        }},
       {"output_count: expected 1, got 0",
        [](auto& p) {
          p.instruction(kNorm).output_count = 0;
          set_operand(p, kNorm, 3, kNoTensor);
        }},
       {"tensors[4]: expected -1, got 0", [](auto& p) { set_operand(p, kNorm, 4, 0); }},
       {"tensors[0]: expected -1 or below 22, got 22",
        [](auto& p) { set_operand(p, kNorm, 0, 22); }},
       {"tensors[0]: expected -1 or below 22, got -2",
        [](auto& p) { set_operand(p, kNorm, 0, -2); }},
       {"output: expected an FP32 tensor that is no weight, got none",
        [](auto& p) { set_operand(p, kNorm, 3, kNoTensor); }},
       {"x: expected an FP32 tensor that is no weight, got none",
        [](auto& p) { set_operand(p, kNorm, 0, kNoTensor); }},
       {"x: expected an FP32 tensor that is no weight, got 'ids', an input of INT32",
        [](auto& p) { set_operand(p, kNorm, 0, kIds); }},
       {"gamma: expected a row-major FP32 weight, got 'qkv_weight', a weight of FP32 in panels",
        [](auto& p) { set_operand(p, kNorm, 1, kQkvWeight); }},
       {"ints[0]: expected 0 (not used), got 1", [](auto& p) { p.instruction(kNorm).ints[0] = 1; }},
       {"floats[1]: expected 0 (not used), got ",
        [](auto& p) { p.instruction(kNorm).floats[1] = std::nan(""); }}});
}

TEST(plan_rules_flow) {
  expect_refused(
      encoder_image,
      {{"instruction 1 (layer_norm): operand: expected a tensor written before, got 'attended'",
        [](auto& p) { set_operand(p, kNorm, 0, kAttended); }},
       {"instruction 1 (layer_norm): operand: expected a tensor written before, got 'normed'",
        [](auto& p) { set_operand(p, kNorm, 0, kNormed); }},
       {"instruction 5 (activation): output: expected a tensor not written before, got 'normed'",
        [](auto& p) { set_operand(p, kActivate, 1, kNormed); }},
       {"instruction 1 (layer_norm): output: expected an FP32 tensor that is no weight, got "
        "'gamma'",
        [](auto& p) { set_operand(p, kNorm, 3, kGamma); }},
       {"tensor 18 ('one'): expected one instruction that writes it, got none",
        [](auto& p) {
          plan_format::TensorRecord& tensor = p.tensor(kOne);
          tensor.role = static_cast<uint8_t>(plan_format::TensorRole::kIntermediate);
          tensor.weight_section = 0;
          tensor.weight_offset = 0;
          tensor.weight_bytes = 0;
          tensor.rank = 2;
          tensor.dims[0] = plan_format::kDimTokens;
          tensor.dims[1] = 4;
          set_operand(p, kScale, 1, kNormed);
        }},
       {"outputs: expected at least 1, got 0", [](auto& p) { p.tensor(kEmbedding).role = 0; }}});
  expect_refused(dense_image, {{"output: expected a tensor not written before, got 'y'",
                                [](auto& p) { p.tensor(3).role = 1; }}});
}

TEST(plan_rules_ragged_plans_take_tokens) {
  // A dense plan that calls itself ragged.
  expect_refused(dense_image, {{"inputs of a ragged plan: expected one over tokens, got none",
                                [](auto& p) { p.header().batching = 1; }}});
}

TEST(plan_rules_embedding) {
  expect_refused(encoder_image, {{"ids: expected an INT32 tensor that is no weight, got 'sum'",
                                  [](auto& p) { set_operand(p, kEmbed, 0, kSum); }},
                                 {"ids: expected tokens as the first dimension, got [rows]",
                                  [](auto& p) { p.tensor(kIds).dims[0] = -1; }},
                                 {"type ids: expected [tokens], got [rows]",
                                  [](auto& p) { p.tensor(kTypeIds).dims[0] = -1; }},
                                 {"word table: expected 2 dimensions, got [4]",
                                  [](auto& p) { set_operand(p, kEmbed, 1, kGamma); }},
                                 {"type ids: expected none without a type table, got 'type_ids'",
                                  [](auto& p) { set_operand(p, kEmbed, 3, kNoTensor); }},
                                 {"position table: expected [4, 4], got [4]",
                                  [](auto& p) { set_operand(p, kEmbed, 2, kGamma); }},
                                 {"type table: expected [4, 4], got [4]",
                                  [](auto& p) { set_operand(p, kEmbed, 3, kGamma); }},
                                 {"first position: expected 0 to 5, got 6",
                                  [](auto& p) { p.instruction(kEmbed).ints[0] = 6; }},
                                 {"first position: expected 0 to 5, got -1",
                                  [](auto& p) { p.instruction(kEmbed).ints[0] = -1; }},
                                 {"first position: expected 0 to 0, got 1",
                                  [](auto& p) { set_operand(p, kEmbed, 2, kNoTensor); }},
                                 {"output: expected [tokens, 4], got [rows, 4]",
                                  [](auto& p) { p.tensor(kSum).dims[0] = -1; }}});
}

TEST(plan_rules_layer_norm) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  expect_refused(
      encoder_image,
      {{"gamma: expected [4], got [12]", [](auto& p) { set_operand(p, kNorm, 1, kQkvBias); }},
       {"beta: expected [4], got [12]", [](auto& p) { set_operand(p, kNorm, 2, kQkvBias); }},
       {"epsilon: expected a finite number >= 0, got -",
        [](auto& p) { p.instruction(kNorm).floats[0] = -1; }},
       {"epsilon: expected a finite number >= 0, got inf",
        [](auto& p) { p.instruction(kNorm).floats[0] = kInfinity; }},
       {"epsilon: expected a finite number >= 0, got ",
        [](auto& p) { p.instruction(kNorm).floats[0] = 1e39; }},  // infinite as a float
       {"epsilon: expected a finite number >= 0, got ",
        [](auto& p) { p.instruction(kNorm).floats[0] = std::nan(""); }},
       {"output: expected [tokens, 4], got [rows, 4]",
        [](auto& p) { p.tensor(kNormed).dims[0] = -1; }}});
}

TEST(plan_rules_gemm) {
  expect_refused(
      encoder_image,
      {{"weight: expected an FP32 weight in panels, got 'words'",
        [](auto& p) { set_operand(p, kQkvGemm, 1, kWords); }},
       {"weight: expected [12, 4], got [4, 4]", [](auto& p) { set_operand(p, kOutGemm, 0, kQkv); }},
       {"bias: expected [12], got [4]", [](auto& p) { set_operand(p, kQkvGemm, 2, kGamma); }},
       {"residual: expected [tokens, 4], got [tokens, 12]",
        [](auto& p) { set_operand(p, kOutGemm, 3, kQkv); }},
       {"activation: expected 0 to 6, got 7", [](auto& p) { p.instruction(kQkvGemm).ints[0] = 7; }},
       {"activation: expected 0 to 6, got -1",
        [](auto& p) { p.instruction(kQkvGemm).ints[0] = -1; }},
       {"output: expected [tokens, 12], got [tokens, 11]",
        [](auto& p) { p.tensor(kQkv).dims[1] = 11; }}});
  expect_refused(dense_image, {{"x: expected 2 dimensions, got [rows, 3, 1]", [](auto& p) {
                                  p.tensor(0).rank = 3;
                                  p.tensor(0).dims[2] = 1;
                                }}});
}

TEST(plan_rules_attention) {
  expect_refused(encoder_image,
                 {{"qkv: expected a multiple of 3 as the second dimension, got [tokens, 4]",
                   [](auto& p) { set_operand(p, kAttend, 0, kNormed); }},
                  {"heads: expected a divisor of 4, got 3",
                   [](auto& p) { p.instruction(kAttend).ints[0] = 3; }},
                  {"heads: expected a divisor of 4, got 0",
                   [](auto& p) { p.instruction(kAttend).ints[0] = 0; }},
                  {"heads: expected a divisor of 4, got -2",
                   [](auto& p) { p.instruction(kAttend).ints[0] = -2; }},
                  {"scale: expected a finite number > 0, got 0",
                   [](auto& p) { p.instruction(kAttend).floats[0] = 0; }},
                  {"output: expected [tokens, 4], got [tokens, 3]",
                   [](auto& p) { p.tensor(kContext).dims[1] = 3; }}});
  expect_refused(dense_image,
                 {{"qkv: expected tokens as the first dimension, got [rows, 3]", [](auto& p) {
                     p.instruction(0).op = static_cast<uint16_t>(plan_format::Op::kRaggedAttention);
                     p.instruction(0).input_count = 1;
                     p.instruction(0).ints[0] = 1;
                     p.instruction(0).floats[0] = 1;
                     for (int32_t& slot : p.instruction(0).tensors) slot = kNoTensor;
                     p.instruction(0).tensors[0] = 0;
                     p.instruction(0).tensors[1] = 3;
                   }}});
}

TEST(plan_rules_pool_normalize_activation_binary) {
  expect_refused(
      encoder_image,
      {{"pooling: expected 0 to 3, got 4", [](auto& p) { p.instruction(kPool).ints[0] = 4; }},
       {"output: expected [rows, 4], got [tokens, 4]",
        [](auto& p) { p.tensor(kPooled).dims[0] = -2; }},
       {"smallest norm: expected a finite number >= 0, got -",
        [](auto& p) { p.instruction(kNormalize).floats[0] = -1; }},
       {"output: expected [rows, 4], got [rows, 5]",
        [](auto& p) { p.tensor(kEmbedding).dims[1] = 5; }},
       {"instruction 5 (activation): activation: expected 0 to 6, got 7",
        [](auto& p) { p.instruction(kActivate).ints[0] = 7; }},
       {"instruction 5 (activation): output: expected [tokens, 4], got [tokens, 2]",
        [](auto& p) { p.tensor(kActive).dims[1] = 2; }},
       {"operation: expected 0 to 3, got 4", [](auto& p) { p.instruction(kAdd).ints[0] = 4; }},
       {"b: expected [tokens, 4], got [tokens, 12]",
        [](auto& p) { set_operand(p, kAdd, 1, kQkv); }},
       {"b: expected [4], got [12]", [](auto& p) { set_operand(p, kScale, 1, kQkvBias); }},
       {"b: expected a row-major FP32 tensor, got 'out_weight'",
        [](auto& p) { set_operand(p, kScale, 1, kOutWeight); }},
       {"a: expected an FP32 tensor that is no weight, got 'gamma'",
        [](auto& p) { set_operand(p, kScale, 0, kGamma); }}});
}

}  // namespace pelton::plan_test
