#include "csrc/wire/number_text.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <system_error>

#include "csrc/wire/half.h"
#include "csrc/wire/swar.h"

namespace pelton {
namespace {

// Powers of ten that float64 holds exactly; a product or quotient of two exact numbers is rounded
// once only (Clinger, "How to Read Floating Point Numbers Accurately", 1990).
constexpr std::array<double, 23> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                            1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int kExactPowerMax = 22;
constexpr uint64_t kExactIntegerMax = uint64_t{1} << 53;

char* write_text(std::string_view text, char* out) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

char* write_zeros(int count, char* out) {
  std::memset(out, '0', static_cast<size_t>(count));
  return out + count;
}

char* write_non_finite(double value, char* out) {
  if (std::isnan(value)) return write_text("NaN", out);
  return write_text(value > 0 ? "Infinity" : "-Infinity", out);
}

// Digits d1 d2 ... of the value 0.d1d2... x 10^point.
struct Decimal {
  char digits[24];
  int count = 0;
  int point = 0;
};

// Splits what to_chars writes in its scientific form: "d.ddde-07".
Decimal split_scientific(const char* at, const char* end) {
  Decimal decimal;
  decimal.digits[decimal.count++] = *at++;
  if (*at == '.') {
    for (++at; *at != 'e'; ++at) decimal.digits[decimal.count++] = *at;
  }
  ++at;
  const bool is_negative = *at++ == '-';
  int exponent = 0;
  for (; at < end; ++at) exponent = exponent * 10 + (*at - '0');
  decimal.point = (is_negative ? -exponent : exponent) + 1;
  return decimal;
}

// As repr of Python's float lays digits out.
char* write_decimal(const Decimal& decimal, char* out) {
  const auto count = static_cast<size_t>(decimal.count);
  const int point = decimal.point;
  if (point > 16 || point <= -4) {
    *out++ = decimal.digits[0];
    if (count > 1) {
      *out++ = '.';
      out = write_text({decimal.digits + 1, count - 1}, out);
    }
    *out++ = 'e';
    *out++ = point > 0 ? '+' : '-';
    const int exponent = std::abs(point - 1);
    if (exponent < 10) *out++ = '0';
    return std::to_chars(out, out + 4, exponent).ptr;
  }
  if (point <= 0) {
    out = write_zeros(-point, write_text("0.", out));
    return write_text({decimal.digits, count}, out);
  }
  if (point >= decimal.count) {
    out = write_text({decimal.digits, count}, out);
    return write_text(".0", write_zeros(point - decimal.count, out));
  }
  const auto whole = static_cast<size_t>(point);
  out = write_text({decimal.digits, whole}, out);
  *out++ = '.';
  return write_text({decimal.digits + whole, count - whole}, out);
}

// `exact_below`: integers below it are one apart or closer, so that their own digits are shortest.
template <typename Float>
char* write_shortest(Float value, Float exact_below, char* out) {
  if (!std::isfinite(value)) return write_non_finite(static_cast<double>(value), out);
  if (std::signbit(value)) {
    *out++ = '-';
    value = -value;
  }
  if (value < exact_below) {
    const auto whole = static_cast<uint64_t>(value);
    if (static_cast<Float>(whole) == value) {
      return write_text(".0", std::to_chars(out, out + kNumberBytesMax, whole).ptr);
    }
  }
  char scientific[kNumberBytesMax];
  const auto [end, error] = std::to_chars(scientific, scientific + sizeof(scientific), value,
                                          std::chars_format::scientific);
  return write_decimal(split_scientific(scientific, end), out);
}

// The decimal of the fewest digits that `reads_back`, of `digits_min` to `digits_max`; it is the
// float64 nearest to that decimal. False where the powers of ten are not exact.
// REQUIRES: value is finite, not 0.
template <typename ReadsBack>
bool round_to_digits(double value, int digits_min, int digits_max, ReadsBack reads_back,
                     double& rounded) {
  const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value))));
  for (int digits = digits_min; digits <= digits_max; ++digits) {
    const int places = digits - 1 - exponent;
    if (std::abs(places) > kExactPowerMax) continue;
    const double scale = kPowers[static_cast<size_t>(std::abs(places))];
    rounded = places < 0 ? std::rint(value / scale) * scale : std::rint(value * scale) / scale;
    if (places < 0 && std::abs(rounded) >= static_cast<double>(kExactIntegerMax)) continue;
    if (reads_back(rounded)) return true;
  }
  return false;
}

// What JSON number text says, before it is rounded.
struct NumberParts {
  uint64_t mantissa = 0;
  int64_t exponent = 0;  // of ten
  int64_t digit_count = 0;
  bool is_integer = true;
};

const char* read_digits(const char* at, const char* end, NumberParts& parts) {
  const char* const begin = at;
  while (end - at >= 8 && match_non_digit(load_word(at)) == 0) {
    parts.mantissa = parts.mantissa * 100000000 + read_eight_digits(load_word(at));
    at += 8;
  }
  for (; at < end && is_digit(*at); ++at) {
    parts.mantissa = parts.mantissa * 10 + static_cast<uint64_t>(*at - '0');
  }
  parts.digit_count += at - begin;
  return at;
}

const char* read_exponent(const char* at, const char* end, NumberParts& parts) {
  constexpr int64_t kFar = 1 << 20;  // beyond any float64, whatever the digits before it
  bool is_negative = false;
  if (*at == '+' || *at == '-') is_negative = *at++ == '-';
  int64_t exponent = 0;
  for (; at < end && is_digit(*at); ++at) {
    if (exponent < kFar) exponent = exponent * 10 + (*at - '0');
  }
  parts.exponent += is_negative ? -exponent : exponent;
  return at;
}

// from_chars tells overflow and underflow apart by nothing but the number itself.
double out_of_range_value(std::string_view text, int64_t exponent) {
  const size_t first = text.find_first_of("123456789");
  if (first == std::string_view::npos) return 0;
  const size_t point = std::min(text.find_first_of(".eE"), text.size());
  const auto place = static_cast<int64_t>(point) - static_cast<int64_t>(first);
  return place + exponent > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

const char* read_literal(const char* at, const char* end, double& value) {
  if (*at == 'N') {
    value = std::numeric_limits<double>::quiet_NaN();
    return at + 3;
  }
  value = std::numeric_limits<double>::infinity();
  return end - at >= 8 && at[3] == 'i' ? at + 8 : at + 3;
}

template <typename Value, char* (*write)(Value, char*)>
void append(Value value, std::string& out) {
  char text[kNumberBytesMax];
  out.append(text, write(value, text));
}

}  // namespace

char* write_int(int64_t value, char* out) {
  return std::to_chars(out, out + kNumberBytesMax, value).ptr;
}

char* write_uint(uint64_t value, char* out) {
  return std::to_chars(out, out + kNumberBytesMax, value).ptr;
}

char* write_f32(float value, char* out) { return write_shortest(value, 0x1p24f, out); }
char* write_f64(double value, char* out) { return write_shortest(value, 0x1p53, out); }

char* write_f16(uint16_t bits, char* out) {
  const double value = f16_to_f64(bits);
  if (!std::isfinite(value) || value == 0) return write_f64(value, out);
  double rounded = value;
  // Five digits tell all values apart; the smallest need one.
  round_to_digits(
      value, 1, 5, [bits](double candidate) { return f64_to_f16(candidate) == bits; }, rounded);
  return write_f64(rounded, out);
}

char* write_bf16(uint16_t bits, char* out) {
  const float narrow = bf16_to_f32(bits);
  if (!std::isfinite(narrow) || narrow == 0) return write_f32(narrow, out);
  double rounded = 0;
  const auto reads_back = [bits](double candidate) {
    return f32_to_bf16(static_cast<float>(candidate)) == bits;
  };
  if (!round_to_digits(narrow, 2, 4, reads_back, rounded)) return write_f32(narrow, out);
  return write_f64(rounded, out);
}

void append_int(int64_t value, std::string& out) { append<int64_t, write_int>(value, out); }
void append_uint(uint64_t value, std::string& out) { append<uint64_t, write_uint>(value, out); }
void append_f32(float value, std::string& out) { append<float, write_f32>(value, out); }
void append_f64(double value, std::string& out) { append<double, write_f64>(value, out); }
void append_f16(uint16_t bits, std::string& out) { append<uint16_t, write_f16>(bits, out); }
void append_bf16(uint16_t bits, std::string& out) { append<uint16_t, write_bf16>(bits, out); }

const char* read_number(const char* at, const char* end, double& value) {
  const char* const begin = at;
  const bool is_negative = *at == '-';
  if (is_negative) ++at;
  if (!is_digit(*at)) {
    at = read_literal(at, end, value);
    if (is_negative) value = -value;
    return at;
  }
  NumberParts parts;
  at = read_digits(at, end, parts);
  int64_t exponent = 0;
  if (end - at >= 2 && *at == '.') {
    parts.is_integer = false;
    const char* const fraction = at + 1;
    at = read_digits(fraction, end, parts);
    parts.exponent = fraction - at;
  }
  if (end - at >= 2 && (*at == 'e' || *at == 'E')) {
    parts.is_integer = false;
    exponent = parts.exponent;
    at = read_exponent(at + 1, end, parts);
    exponent = parts.exponent - exponent;
  }
  if (parts.digit_count <= 19 && parts.mantissa <= kExactIntegerMax &&
      parts.exponent >= -kExactPowerMax && parts.exponent <= kExactPowerMax) {
    const auto mantissa = static_cast<double>(parts.mantissa);
    const double power = kPowers[static_cast<size_t>(std::abs(parts.exponent))];
    value = parts.exponent < 0 ? mantissa / power : mantissa * power;
  } else {
    const char* const digits = begin + (is_negative ? 1 : 0);
    value = 0;
    const auto [stop, error] = std::from_chars(digits, at, value);
    if (error == std::errc::result_out_of_range) {
      value = out_of_range_value({digits, static_cast<size_t>(at - digits)}, exponent);
    }
  }
  if (is_negative && (value != 0 || !parts.is_integer)) value = -value;
  return at;
}

const char* read_integer_text(const char* at, const char* end, WrittenInteger& value) {
  value = {};
  const bool is_negative = *at == '-';
  if (is_negative) ++at;
  NumberParts parts;
  const char* const begin = at;
  at = read_digits(at, end, parts);
  value.magnitude = parts.mantissa;
  // No leading zeros: 19 digits fit, 21 do not, 20 do where they are not below what 64 bits wrap
  // to.
  if (parts.digit_count > 19) {
    uint64_t exact = 0;
    value.is_big = std::from_chars(begin, at, exact).ec != std::errc();
  }
  value.is_negative = is_negative && (value.is_big || value.magnitude != 0);
  return at;
}

}  // namespace pelton
