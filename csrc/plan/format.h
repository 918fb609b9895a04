// The plan file, format version 1 (docs/plan-format.md). Little-endian, fixed-size records, every
// offset from the start of the file. Written by pyserver/pelton/compiler/plan_writer.py, read by
// csrc/plan/plan.cc; nothing here is trusted before it has been validated.
//
//   PlanHeader | SectionRecord[section_count] | the sections in the order of the table, each
//   at the next multiple of 64 (weights: 4096) after the one before it, gaps filled with zeros
//
// Sections: exactly one each of metadata (UTF-8 JSON, read by Python only), strings, tensors,
// instructions; any number of weights and attachments. Reserved and unused fields are zero, so
// that every byte of a plan has one right value and any flipped bit is found.
#pragma once

#include <cstdint>

namespace pelton::plan_format {

inline constexpr char kMagic[8] = {'P', 'E', 'L', 'T', 'O', 'N', '\0', 'P'};
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr int64_t kDimRows = -1;    // one per row of the batch
inline constexpr int64_t kDimTokens = -2;  // one per token of a ragged batch
inline constexpr int32_t kNoTensor = -1;
inline constexpr int kDimsMax = 8;
inline constexpr int kOperandsMax = 12;
inline constexpr int kPanelColumns = 16;  // packed weights: [N/16][K][16], N padded with zeros
inline constexpr uint64_t kSectionAlignment = 64;
inline constexpr uint64_t kWeightSectionAlignment = 4096;
inline constexpr uint64_t kWeightAlignment = 64;

// Limits: a plan beyond one of them is refused.
inline constexpr uint32_t kSectionsMax = 4096;
inline constexpr uint64_t kTensorsMax = uint64_t{1} << 20;
inline constexpr uint64_t kInstructionsMax = uint64_t{1} << 20;
inline constexpr uint64_t kMetadataBytesMax = uint64_t{1} << 26;
inline constexpr uint64_t kNameBytesMax = 1024;
inline constexpr int64_t kDimMax = (int64_t{1} << 31) - 1;
// Elements of a weight, or of one row (token) of any other tensor. With up to 2^24 rows, bytes of
// any tensor stay below 2^63.
inline constexpr int64_t kElementsMax = int64_t{1} << 36;

enum class SectionKind : uint32_t {
  kMetadata = 1,
  kStrings = 2,
  kTensors = 3,
  kInstructions = 4,
  kWeights = 5,
  kAttachment = 6,
};

struct PlanHeader {
  char magic[8];
  uint32_t format_version;
  uint32_t header_bytes;  // sizeof(PlanHeader)
  uint64_t file_bytes;
  uint64_t section_table_offset;
  uint32_t section_count;
  uint32_t batching;  // 0 dense, 1 ragged
  uint64_t section_table_xxh64;
  uint8_t reserved[72];   // zero
  uint64_t header_xxh64;  // of the bytes before it
};
static_assert(sizeof(PlanHeader) == 128);

struct SectionRecord {
  uint32_t kind;
  uint32_t reserved;
  uint64_t offset;
  uint64_t bytes;
  uint64_t xxh64;        // of the section's bytes
  uint32_t name_offset;  // into strings: an attachment's name; else 0, 0
  uint32_t name_bytes;
};
static_assert(sizeof(SectionRecord) == 40);

enum class TensorRole : uint8_t { kIntermediate = 0, kInput = 1, kOutput = 2, kWeight = 3 };
enum class TensorLayout : uint8_t { kRowMajor = 0, kPanels16 = 1 };

struct TensorRecord {
  uint32_t name_offset;  // into strings; names are unique UTF-8 without NUL
  uint32_t name_bytes;
  uint8_t role;
  uint8_t dtype;  // DType, any but kBytes
  uint8_t rank;
  uint8_t layout;           // kPanels16: an FP32 weight whose dims are the logical [K, N]
  uint32_t weight_section;  // index into the section table; weights only
  // Weights: all from 1 to kDimMax. Others: dims[0] is kDimRows or kDimTokens (ragged plans
  // only), the rest from 1 to kDimMax. Zero beyond the rank.
  int64_t dims[kDimsMax];
  uint64_t weight_offset;  // within the section, a multiple of 64; weights only
  uint64_t weight_bytes;   // what dims, dtype and layout make it
};
static_assert(sizeof(TensorRecord) == 96);

// Operands: `tensors` holds input_count inputs (kNoTensor where an optional one is absent), then
// output_count outputs, then kNoTensor. r is rows or tokens. FP32 unless said otherwise. Tables,
// gamma, beta, weight and bias are weights, everything else is not. Each tensor that is neither
// an input nor a weight is written by exactly one instruction, before any that reads it.
enum class Op : uint16_t {
  // in: ids INT32 [tokens], word table [V,H], position table [P,H] or none, type table [Y,H] or
  // none, type ids INT32 [tokens] or none (then type 0). out: [tokens,H] = the sum of the rows.
  // ints[0]: position of a sequence's first token, < P (0 without a position table).
  kEmbedding = 1,
  // in: x [r,H], gamma [H], beta [H]. out: [r,H]. floats[0]: epsilon >= 0.
  kLayerNorm = 2,
  // in: x [r,K], weight panels16 [K,N], bias [N] or none, residual [r,N] or none.
  // out: [r,N] = activation(x W + bias) + residual. ints[0]: Activation.
  kGemm = 3,
  // in: qkv [tokens,3*H] (q, k, v side by side). out: [tokens,H]. ints[0]: heads, a divisor of H.
  // floats[0]: scale of the scores, > 0.
  kRaggedAttention = 4,
  // in: x [tokens,H]. out: [rows,H]. ints[0]: Pooling.
  kPool = 5,
  // in: x [r,N]. out: the same shape, x / max(|x|_2, floats[0]) per row. floats[0] >= 0.
  kL2Normalize = 6,
  // in: x. out: the same shape. ints[0]: Activation.
  kActivation = 7,
  // in: a [r,...], b the same shape, or a row-major weight [N] or [1] applied to every row, N
  // being the elements of a row. out: a's shape. ints[0]: Binary.
  kBinary = 8,
};

enum class Activation : int64_t {
  kNone = 0,
  kRelu = 1,
  kGeluErf = 2,
  kGeluTanh = 3,
  kTanh = 4,
  kSigmoid = 5,
  kSilu = 6,
};
enum class Pooling : int64_t { kMean = 0, kCls = 1, kMax = 2, kMeanSqrtLength = 3 };
enum class Binary : int64_t { kAdd = 0, kSubtract = 1, kMultiply = 2, kDivide = 3 };

struct InstructionRecord {
  uint16_t op;
  uint8_t input_count;
  uint8_t output_count;
  uint32_t reserved;
  int32_t tensors[kOperandsMax];
  int64_t ints[6];  // unused ones are zero
  double floats[2];
  uint64_t reserved2;
};
static_assert(sizeof(InstructionRecord) == 128);

}  // namespace pelton::plan_format
