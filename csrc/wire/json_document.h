// JsonDocument: strict JSON (RFC 8259) as a flat list of nodes over the text, within bounds, in one
// pass, without recursion. Its oracle is pyserver/pelton/codec/_json.py: the same texts are taken
// and refused, with the same problems. Beyond the RFC only the bare literals NaN, Infinity and Inf
// (with an optional minus) are read, since the clients of Triton Inference Server write them.
//
// A list of numbers is one node: its elements are found in the text when they are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "csrc/base/problem.h"
#include "csrc/base/scratch.h"
#include "csrc/wire/limits.h"

namespace pelton {

enum class JsonKind : uint8_t { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };

class JsonDocument;
class JsonParser;

// One value of a document; as small as a pointer and an index. Valid until the document is parsed
// anew. REQUIRES of each accessor: the kind it names.
class JsonValue {
 public:
  JsonKind kind() const;
  bool is_null() const { return kind() == JsonKind::kNull; }

  // kString: decoded UTF-8; in the text itself unless it has escapes.
  std::string_view string() const;
  // kNumber: as written.
  std::string_view number() const;
  // kNumber: whether it is written as an integer (no fraction, no exponent, no literal).
  bool is_integer() const;

  // kArray, kObject: how many elements or members.
  size_t size() const;
  // kArray: true when every element is a number, and when it is empty.
  bool holds_numbers_only() const;

  // Elements of an array in order; for (auto e = v.first_element(); e; e = e->next()) ...
  std::optional<JsonValue> first_element() const;
  // The element after this one in the same array, or the value of the member after this one.
  std::optional<JsonValue> next() const;

  // kObject: the member of that name.
  std::optional<JsonValue> find(std::string_view name) const;
  // kObject: the value of the first member; key() of a member's value is its name.
  std::optional<JsonValue> first_member() const;
  std::string_view key() const;

  // Where it begins in the text.
  size_t offset() const;
  // As written, first to last byte.
  std::string_view text() const;

 private:
  friend class JsonDocument;
  friend class JsonParser;
  // Set in `node_` for an element of a list of numbers: the rest is its offset in the text.
  static constexpr uint32_t kInText = uint32_t{1} << 31;

  JsonValue(const JsonDocument* document, uint32_t node) : document_(document), node_(node) {}
  bool is_in_text() const { return (node_ & kInText) != 0; }
  // The first number of a list of numbers, and the one after a number of such a list (0: none), as
  // `node_` says them.
  uint32_t first_number() const;
  uint32_t next_number() const;

  const JsonDocument* document_;
  uint32_t node_;
};

// Not thread-safe. Meant to be used again: clear() keeps memory up to a bound.
class JsonDocument {
 public:
  // kInvalidInput with the byte offset where the text stops being JSON; kPayloadTooLarge where it
  // holds more values than the limits allow, or has 2 GiB. `text` and `scratch` (decoded strings)
  // must outlive what is read from the document.
  ProblemPtr parse(std::string_view text, const DecodeLimits& limits, Scratch& scratch);
  // Lets go of what was parsed: a large document's nodes would else be kept until the next one.
  void clear();
  // REQUIRES: parse() succeeded, and no clear() since.
  JsonValue root() const { return JsonValue(this, 0); }
  // Whether some number is written as an infinite literal. Where none is, an infinite value can
  // only come from a number too large for float64; where one is, there is no such number, but for
  // integers.
  bool has_infinity() const { return has_infinity_; }

 private:
  friend class JsonValue;
  friend class JsonParser;

  // In the order of the text; the key of a member is the node before its value.
  struct Node {
    uint32_t begin;
    uint32_t end;
    uint32_t next;  // the next element or member's value; 0: there is none
    uint32_t size;  // of a string: index in `decoded_` plus 1; 0: as in the text
    JsonKind kind;
    bool is_number_list;
  };

  std::string_view text_;
  std::vector<Node> nodes_;
  std::vector<std::string_view> decoded_;
  std::vector<std::string_view> keys_;  // of the object whose names are being compared
  bool has_infinity_ = false;
};

inline JsonKind JsonValue::kind() const {
  return is_in_text() ? JsonKind::kNumber : document_->nodes_[node_].kind;
}

inline std::string_view JsonValue::string() const {
  const JsonDocument::Node& node = document_->nodes_[node_];
  if (node.size != 0) return document_->decoded_[node.size - 1];
  return {document_->text_.data() + node.begin + 1, node.end - node.begin - 2};
}

inline size_t JsonValue::size() const { return document_->nodes_[node_].size; }

inline bool JsonValue::holds_numbers_only() const {
  const JsonDocument::Node& node = document_->nodes_[node_];
  return node.is_number_list || node.size == 0;
}

inline std::optional<JsonValue> JsonValue::first_element() const {
  const JsonDocument::Node& node = document_->nodes_[node_];
  if (node.size == 0) return std::nullopt;
  return JsonValue(document_, node.is_number_list ? first_number() : node_ + 1);
}

inline std::optional<JsonValue> JsonValue::next() const {
  const uint32_t next = is_in_text() ? next_number() : document_->nodes_[node_].next;
  if (next == 0) return std::nullopt;
  return JsonValue(document_, next);
}

inline std::optional<JsonValue> JsonValue::first_member() const {
  if (size() == 0) return std::nullopt;
  return JsonValue(document_, node_ + 2);
}

inline std::string_view JsonValue::key() const { return JsonValue(document_, node_ - 1).string(); }

inline size_t JsonValue::offset() const {
  return is_in_text() ? node_ & ~kInText : document_->nodes_[node_].begin;
}

}  // namespace pelton
