// OIP requests in msgpack: the input is the body.
#include "csrc/wire/msgpack_codec.h"
#include "tests/fuzz/infer_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pelton;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  for (const DecodeLimits& limits : {DecodeLimits{}, fuzz::small_limits()}) {
    fuzz::check_decoder(
        body, limits,
        [](std::span<const std::byte> bytes, const DecodeLimits& bounds, InferRequest& request) {
          return decode_msgpack_infer(bytes, bounds, fuzz::specs_for(bytes.size()), request);
        });
  }
  return 0;
}
