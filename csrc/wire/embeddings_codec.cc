#include "csrc/wire/embeddings_codec.h"

#include <limits>

#include "csrc/wire/base64.h"
#include "csrc/wire/body_checks.h"
#include "csrc/wire/json_elements.h"
#include "csrc/wire/json_text.h"
#include "csrc/wire/media_types.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/where.h"

namespace pelton {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

bool is_integer(const JsonValue& value) {
  return value.kind() == JsonKind::kNumber && value.is_integer();
}

ProblemPtr read_integer(const JsonValue& value, const Where& where, int64_t low, int64_t high,
                        int64_t& number) {
  if (is_integer(value)) {
    WrittenInteger written;
    const std::string_view text = value.number();
    read_integer_text(text.data(), text.data() + text.size(), written);
    const bool fits = !written.is_big && (!written.is_negative || written.magnitude == 0) &&
                      written.magnitude >= static_cast<uint64_t>(low) &&
                      written.magnitude <= static_cast<uint64_t>(high);
    if (fits) {
      number = static_cast<int64_t>(written.magnitude);
      return nullptr;
    }
  }
  return where.bad("an integer from " + std::to_string(low) + " to " + std::to_string(high),
                   describe(value));
}

ProblemPtr check_items(const JsonValue& array, const Where& where, int64_t items_max) {
  if (array.size() <= static_cast<size_t>(items_max)) return nullptr;
  return where.bad("at most " + std::to_string(items_max) + " items", std::to_string(array.size()));
}

ProblemPtr read_string(const JsonValue& value, const Where& where, EmbeddingsRequest& request) {
  if (value.kind() != JsonKind::kString) {
    return where.bad("a string, as the first item is one", describe(value));
  }
  const std::string_view text = value.string();
  if (text.empty()) return where.bad("a string of at least one character", "an empty string");
  request.texts.push_back(text);
  return nullptr;
}

ProblemPtr read_tokens(const JsonValue& value, const Where& where, const DecodeLimits& limits,
                       EmbeddingsRequest& request) {
  if (value.kind() != JsonKind::kArray) return where.bad("an array", describe(value));
  PELTON_RETURN_IF_PROBLEM(check_items(value, where, limits.embedding_tokens_max));
  if (value.size() == 0) return where.bad("at least one token id", "an empty array");
  int64_t index = 0;
  for (auto item = value.first_element(); item; item = item->next()) {
    int64_t id = 0;
    PELTON_RETURN_IF_PROBLEM(read_integer(*item, where.item(index++), 0, kInt32Max, id));
    request.ids.push_back(static_cast<int32_t>(id));
  }
  request.lengths.push_back(static_cast<int32_t>(index));
  return nullptr;
}

ProblemPtr read_input(const std::optional<JsonValue>& value, const DecodeLimits& limits,
                      EmbeddingsRequest& request) {
  const Where body;
  const Where where = body.at("input");
  if (value && value->kind() == JsonKind::kString) return read_string(*value, where, request);
  constexpr std::string_view kExpected =
      "a string, or an array of strings, of token ids or of arrays of token ids";
  if (!value || value->kind() != JsonKind::kArray) return where.bad(kExpected, describe(value));
  const std::optional<JsonValue> first = value->first_element();
  if (!first) return where.bad(kExpected, "an empty array");
  if (is_integer(*first)) return read_tokens(*value, where, limits, request);
  const bool is_text = first->kind() == JsonKind::kString;
  if (!is_text && first->kind() != JsonKind::kArray) {
    return where.item(0).bad("a string or token ids", describe(*first));
  }
  PELTON_RETURN_IF_PROBLEM(check_items(*value, where, limits.embedding_items_max));
  int64_t index = 0;
  for (auto item = first; item; item = item->next()) {
    const Where place = where.item(index++);
    PELTON_RETURN_IF_PROBLEM(is_text ? read_string(*item, place, request)
                                     : read_tokens(*item, place, limits, request));
  }
  return nullptr;
}

bool is_absent(const std::optional<JsonValue>& value) { return !value || value->is_null(); }

ProblemPtr read_text(const std::optional<JsonValue>& value, const Where& where, int64_t bytes_max,
                     std::string_view& text) {
  if (!value || value->kind() != JsonKind::kString) return where.bad("a string", describe(value));
  text = value->string();
  if (text.size() <= static_cast<size_t>(bytes_max)) return nullptr;
  return where.bad("a string of at most " + std::to_string(bytes_max) + " bytes",
                   std::to_string(text.size()) + " bytes");
}

ProblemPtr read_format(const std::optional<JsonValue>& value, const Where& where, bool& base64) {
  base64 = false;
  if (is_absent(value)) return nullptr;
  if (value->kind() == JsonKind::kString) {
    base64 = value->string() == "base64";
    if (base64 || value->string() == "float") return nullptr;
  }
  return where.bad("\"float\" or \"base64\"", describe(value));
}

ProblemPtr read_boolean(const std::optional<JsonValue>& value, const Where& where,
                        std::optional<bool>& flag) {
  if (is_absent(value)) return nullptr;
  if (value->kind() != JsonKind::kTrue && value->kind() != JsonKind::kFalse) {
    return where.bad("true or false", describe(value));
  }
  flag = value->kind() == JsonKind::kTrue;
  return nullptr;
}

ProblemPtr read_members(const JsonValue& root, const DecodeLimits& limits,
                        EmbeddingsRequest& request) {
  const Where body;
  if (root.kind() != JsonKind::kObject) return body.bad("an object", describe(root));
  PELTON_RETURN_IF_PROBLEM(read_input(root.find("input"), limits, request));
  const Where model = body.at("model");
  PELTON_RETURN_IF_PROBLEM(
      read_text(root.find("model"), model, limits.name_bytes_max, request.model));
  if (request.model.empty()) return model.bad("a name", "an empty string");
  PELTON_RETURN_IF_PROBLEM(
      read_format(root.find("encoding_format"), body.at("encoding_format"), request.base64));
  const std::optional<JsonValue> dimensions = root.find("dimensions");
  if (!is_absent(dimensions)) {
    int64_t number = 0;
    PELTON_RETURN_IF_PROBLEM(
        read_integer(*dimensions, body.at("dimensions"), 1, kInt32Max, number));
    request.dimensions = number;
  }
  PELTON_RETURN_IF_PROBLEM(
      read_boolean(root.find("truncate"), body.at("truncate"), request.truncate));
  const std::optional<JsonValue> user = root.find("user");
  if (is_absent(user)) return nullptr;
  std::string_view ignored;
  return read_text(user, body.at("user"), limits.string_bytes_max, ignored);
}

void append_vector(std::span<const float> row, std::string& out) {
  out += '[';
  for (size_t i = 0; i < row.size(); ++i) {
    if (i > 0) out += ',';
    append_f32(row[i], out);
  }
  out += ']';
}

}  // namespace

ProblemPtr decode_embeddings(std::optional<std::string_view> content_type,
                             std::span<const std::byte> body, const DecodeLimits& limits,
                             JsonDocument& memory, EmbeddingsRequest& request) {
  PELTON_RETURN_IF_PROBLEM(check_json_type(content_type, kJsonType));
  PELTON_RETURN_IF_PROBLEM(check_body_size(body.size(), limits));
  const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
  PELTON_RETURN_IF_PROBLEM(memory.parse(text, limits, request.scratch));
  return read_members(memory.root(), limits, request);
}

void encode_embeddings(std::span<const float> vectors, int64_t row_count, std::string_view model,
                       int64_t token_count, bool base64, std::string& out) {
  const size_t hidden = row_count == 0 ? 0 : vectors.size() / static_cast<size_t>(row_count);
  // Of a row: the characters of its members, and of its vector.
  constexpr size_t kRowBytes = 64;
  constexpr size_t kFloatBytes = 14;
  const size_t vector_bytes = base64 ? base64_size(hidden * sizeof(float)) : hidden * kFloatBytes;
  out.reserve(out.size() + static_cast<size_t>(row_count) * (kRowBytes + vector_bytes) +
              2 * kRowBytes + model.size());
  out += "{\"object\":\"list\",\"data\":[";
  for (int64_t index = 0; index < row_count; ++index) {
    const std::span<const float> row = vectors.subspan(static_cast<size_t>(index) * hidden, hidden);
    out += index == 0 ? "{\"object\":\"embedding\",\"index\":"
                      : ",{\"object\":\"embedding\",\"index\":";
    append_int(index, out);
    out += ",\"embedding\":";
    if (base64) {
      out += '"';
      append_base64(std::as_bytes(row), out);
      out += '"';
    } else {
      append_vector(row, out);
    }
    out += '}';
  }
  out += "],\"model\":";
  append_json_string(model, out);
  out += ",\"usage\":{\"prompt_tokens\":";
  append_int(token_count, out);
  out += ",\"total_tokens\":";
  append_int(token_count, out);
  out += "}}";
}

}  // namespace pelton
