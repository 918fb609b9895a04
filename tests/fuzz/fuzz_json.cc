// OIP requests in JSON and with binary tensors, and JSON documents as such.
//
// The first line of an input is the value of Inference-Header-Content-Length; empty: the request
// has none. The rest is the body.
#include "csrc/wire/json_document.h"
#include "tests/fuzz/infer_checks.h"

namespace pelton::fuzz {
namespace {

size_t check_scalar(const JsonValue& value, std::string_view text) {
  FUZZ_EXPECT(is_inside(value.text(), text) && !value.text().empty());
  FUZZ_EXPECT(value.text().data() == text.data() + value.offset());
  if (value.kind() == JsonKind::kString) {
    Digest digest;
    digest.add(value.string());
    return digest.value() != 0;
  }
  if (value.kind() == JsonKind::kNumber) {
    FUZZ_EXPECT(value.number() == value.text());
    return value.is_integer();
  }
  return 0;
}

// What is in a container; `pending` gets it.
void check_children(const JsonValue& value, std::vector<JsonValue>& pending) {
  constexpr size_t kFindMax = 16;
  size_t count = 0;
  bool are_numbers = true;
  if (value.kind() == JsonKind::kArray) {
    for (auto element = value.first_element(); element; element = element->next()) {
      are_numbers &= element->kind() == JsonKind::kNumber;
      pending.push_back(*element);
      ++count;
    }
    FUZZ_EXPECT(value.holds_numbers_only() == are_numbers);
  } else {
    for (auto member = value.first_member(); member; member = member->next()) {
      if (value.size() <= kFindMax) {
        const auto found = value.find(member->key());
        FUZZ_EXPECT(found.has_value() && found->offset() == member->offset());
      }
      pending.push_back(*member);
      ++count;
    }
  }
  FUZZ_EXPECT(count == value.size());
}

void check_document(std::string_view input, const DecodeLimits& limits) {
  const ExactCopy copy(input);
  JsonDocument document;
  Scratch scratch;
  const ProblemPtr problem = document.parse(copy.text(), limits, scratch);
  FUZZ_EXPECT(scratch.bytes() <= memory_max(input.size()));
  if (problem) {
    check_problem(*problem);
    return;
  }
  std::vector<JsonValue> pending = {document.root()};
  size_t seen = 0;
  while (!pending.empty()) {
    const JsonValue value = pending.back();
    pending.pop_back();
    FUZZ_EXPECT(++seen <= input.size());
    check_scalar(value, copy.text());
    if (value.kind() == JsonKind::kArray || value.kind() == JsonKind::kObject) {
      check_children(value, pending);
    }
  }
}

}  // namespace
}  // namespace pelton::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pelton;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(input.find('\n'), input.size());
  const std::string_view body = line < input.size() ? input.substr(line + 1) : std::string_view();
  FormatFields fields;
  if (line > 0) fields.inference_header_content_length = input.substr(0, line);
  for (const DecodeLimits& limits : {DecodeLimits{}, fuzz::small_limits()}) {
    fuzz::check_document(body, limits);
    DecodeMemory memory;
    fuzz::check_decoder(
        body, limits,
        [&](std::span<const std::byte> bytes, const DecodeLimits& bounds, InferRequest& request) {
          return decode_infer(fields, bytes, bounds, fuzz::specs_for(bytes.size()), memory,
                              request);
        });
  }
  return 0;
}
