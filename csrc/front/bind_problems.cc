#include "csrc/front/bind_problems.h"

#include <algorithm>
#include <utility>

namespace pelton {
namespace {

struct CodeRange {
  uint32_t first;
  uint32_t last;
};

// What Python's repr() escapes beyond ASCII: categories Cc, Cf, Zs, Zl, Zp and Co of Unicode 14.
constexpr CodeRange kUnprintable[] = {
    {0x80, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},       {0x61C, 0x61C},
    {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},       {0x8E2, 0x8E2},
    {0x1680, 0x1680},   {0x180E, 0x180E},   {0x2000, 0x200F},     {0x2028, 0x202F},
    {0x205F, 0x2064},   {0x2066, 0x206F},   {0x3000, 0x3000},     {0xD800, 0xF8FF},
    {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD},   {0x110CD, 0x110CD},
    {0x13430, 0x13438}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A},   {0xE0001, 0xE0001},
    {0xE0020, 0xE007F}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD},
};

bool is_unprintable(uint32_t code) {
  if (code < 0x80) return code < 0x20 || code == 0x7F;
  return std::any_of(std::begin(kUnprintable), std::end(kUnprintable),
                     [code](CodeRange range) { return range.first <= code && code <= range.last; });
}

struct CodePoint {
  uint32_t code;
  size_t bytes;
};

// REQUIRES: `text` is not empty.
CodePoint first_code_point(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text.front());
  const size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t code = bytes == 1 ? lead : lead & (0xFFu >> (bytes + 1));
  const size_t size = std::min(bytes, text.size());
  for (size_t i = 1; i < size; ++i) code = code << 6 | (static_cast<uint8_t>(text[i]) & 0x3Fu);
  return {code, size};
}

void append_escape(uint32_t code, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  const int digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  out += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kDigits[code >> shift & 15];
}

}  // namespace

std::string python_repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const auto [code, bytes] = first_code_point(text);
    const char byte = text.front();
    if (byte == quote || byte == '\\') {
      out += '\\';
      out += byte;
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\r') {
      out += "\\r";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (is_unprintable(code)) {
      append_escape(code, out);
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return out += quote;
}

std::string shape_text(std::span<const int64_t> dims) {
  std::string out = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) out += ", ";
    out += std::to_string(dims[i]);
  }
  return out += ']';
}

std::string place_text(int64_t row, int64_t column) {
  const int64_t place[] = {row, column};
  return shape_text(place);
}

ProblemPtr wrong_input(std::string_view tensor, std::string expected, std::string got) {
  auto problem =
      make_problem(ProblemKind::kInvalidInput,
                   "input " + python_repr(tensor) + ": expected " + expected + ", got " + got);
  problem->tensor = tensor;
  problem->expected = std::move(expected);
  problem->got = std::move(got);
  return problem;
}

ProblemPtr refused_input(std::string_view tensor, std::string_view reason, std::string expected) {
  auto problem = make_problem(ProblemKind::kInvalidInput, "input " + python_repr(tensor) + ": ");
  problem->message += reason;
  problem->tensor = tensor;
  problem->expected = std::move(expected);
  problem->got = tensor;
  return problem;
}

}  // namespace pelton
