// DecodeLimits: bounds on what a decoder builds from one body; each is checked before the thing it
// bounds is built. The native twin of DecodeLimits and EmbeddingsLimits of pyserver/pelton/codec.
#pragma once

#include <cstdint>

namespace pelton {

struct DecodeLimits {
  int64_t body_bytes_max = int64_t{64} << 20;
  int64_t head_bytes_max = int64_t{16} << 20;
  int64_t tensors_max = 256;
  int rank_max = 16;  // at most kRankMax
  int64_t elements_max = int64_t{1} << 31;
  int64_t nodes_max = int64_t{4} << 20;
  int64_t containers_max = int64_t{1} << 20;
  int64_t parameters_max = 64;
  int64_t string_bytes_max = int64_t{1} << 20;
  int64_t name_bytes_max = 256;
  int64_t digits_max = 1024;
  int64_t embedding_items_max = 2048;
  int64_t embedding_tokens_max = int64_t{1} << 16;  // of an input that comes as token ids
};

}  // namespace pelton
