#include "csrc/wire/msgpack_value.h"

#include <bit>

#include "csrc/base/check.h"
#include "csrc/wire/msgpack_token.h"

namespace pelton {
namespace {

MsgValue scalar(const std::byte* at) {
  const auto signed_value = [](int64_t number) {
    MsgValue value;
    value.type = number < 0 ? MsgType::kNegative : MsgType::kUnsigned;
    value.bits = static_cast<uint64_t>(number);
    return value;
  };
  const auto unsigned_value = [](uint64_t number) {
    MsgValue value;
    value.type = MsgType::kUnsigned;
    value.bits = number;
    return value;
  };
  const auto float_value = [](double number) {
    MsgValue value;
    value.type = MsgType::kFloat;
    value.bits = std::bit_cast<uint64_t>(number);
    return value;
  };
  const auto tag = static_cast<uint8_t>(*at++);
  MsgValue value;
  switch (tag) {
    case 0xC0:
      return value;
    case 0xC2:
      value.type = MsgType::kFalse;
      return value;
    case 0xC3:
      value.type = MsgType::kTrue;
      return value;
    case 0xCA:
      return float_value(std::bit_cast<float>(load_big_endian<uint32_t>(at)));
    case 0xCB:
      return float_value(std::bit_cast<double>(load_big_endian<uint64_t>(at)));
    case 0xCC:
      return unsigned_value(static_cast<uint8_t>(*at));
    case 0xCD:
      return unsigned_value(load_big_endian<uint16_t>(at));
    case 0xCE:
      return unsigned_value(load_big_endian<uint32_t>(at));
    case 0xCF:
      return unsigned_value(load_big_endian<uint64_t>(at));
    case 0xD0:
      return signed_value(static_cast<int8_t>(*at));
    case 0xD1:
      return signed_value(static_cast<int16_t>(load_big_endian<uint16_t>(at)));
    case 0xD2:
      return signed_value(static_cast<int32_t>(load_big_endian<uint32_t>(at)));
    case 0xD3:
      return signed_value(static_cast<int64_t>(load_big_endian<uint64_t>(at)));
    default:
      return signed_value(static_cast<int8_t>(tag));  // a fixint of either sign
  }
}

}  // namespace

double MsgValue::real() const { return std::bit_cast<double>(bits); }

MsgValue MsgReader::next() {
  const std::byte* const at = body_.data() + position_;
  if (const uint8_t size = kMsgScalarSizes[static_cast<uint8_t>(*at)]) {
    position_ += size;
    return scalar(at);
  }
  MsgToken token;
  PELTON_CHECK(!read_msg_token(body_, position_, token));
  constexpr MsgType kTypes[] = {MsgType::kNil, MsgType::kStr,   MsgType::kBin,
                                MsgType::kExt, MsgType::kArray, MsgType::kMap};
  MsgValue value;
  value.type = kTypes[static_cast<size_t>(token.kind)];
  value.code = token.code;
  value.size = token.size;
  value.start = token.start;
  value.content = reinterpret_cast<const char*>(body_.data()) + token.start;
  position_ = token.start;
  if (token.kind != MsgTokenKind::kArray && token.kind != MsgTokenKind::kMap)
    position_ += token.size;
  return value;
}

void MsgReader::skip() {
  for (size_t left = 1; left > 0; --left) {
    MsgToken token;
    PELTON_CHECK(!read_msg_token(body_, position_, token));
    position_ = token.start;
    if (token.kind == MsgTokenKind::kMap) {
      left += 2 * size_t{token.size};
    } else if (token.kind != MsgTokenKind::kArray) {
      position_ += token.size;
    } else if (const size_t run = msg_number_run_bytes(body_, token)) {
      position_ += run;
    } else {
      left += token.size;
    }
  }
}

}  // namespace pelton
