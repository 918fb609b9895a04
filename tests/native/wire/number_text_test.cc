// Numbers as text and back. Every 16-bit float and many others are held against NumPy and Python by
// tests/python/codec/test_native_infer.py.
#include "csrc/wire/number_text.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "csrc/wire/half.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

std::string f64_text(double value) {
  std::string out;
  append_f64(value, out);
  return out;
}

std::string f32_text(float value) {
  std::string out;
  append_f32(value, out);
  return out;
}

double read(std::string_view text) {
  double value = 0;
  EXPECT(read_number(text.data(), text.data() + text.size(), value) == text.data() + text.size());
  return value;
}

TEST(floats_are_laid_out_as_python_does) {
  EXPECT_EQ(f64_text(0), "0.0");
  EXPECT_EQ(f64_text(-0.0), "-0.0");
  EXPECT_EQ(f64_text(1), "1.0");
  EXPECT_EQ(f64_text(-12.5), "-12.5");
  EXPECT_EQ(f64_text(1e15), "1000000000000000.0");
  EXPECT_EQ(f64_text(1e16), "1e+16");
  EXPECT_EQ(f64_text(1.5e300), "1.5e+300");
  EXPECT_EQ(f64_text(0.0001), "0.0001");
  EXPECT_EQ(f64_text(0.00001), "1e-05");
  EXPECT_EQ(f64_text(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(f64_text(std::numeric_limits<double>::denorm_min()), "5e-324");
  EXPECT_EQ(f64_text(std::nan("")), "NaN");
  EXPECT_EQ(f64_text(HUGE_VAL), "Infinity");
  EXPECT_EQ(f64_text(-HUGE_VAL), "-Infinity");
}

TEST(fp32_is_shortest) {
  EXPECT_EQ(f32_text(0.1F), "0.1");
  EXPECT_EQ(f32_text(16777216.0F), "16777216.0");
  EXPECT_EQ(f32_text(123456789.0F), "123456790.0");
  EXPECT_EQ(f32_text(1e20F), "1e+20");
  EXPECT_EQ(f32_text(std::numeric_limits<float>::denorm_min()), "1e-45");
}

TEST(sixteen_bit_floats_are_shortest) {
  std::string out;
  append_f16(f64_to_f16(0.1), out);
  append_bf16(f32_to_bf16(0.1F), out += ' ');
  append_f16(1, out += ' ');
  append_f16(0x7BFF, out += ' ');
  append_bf16(f32_to_bf16(1e30F), out += ' ');
  EXPECT_EQ(out, "0.1 0.1 6e-08 65500.0 1.00025555e+30");
}

TEST(floats_read_back_as_the_same_bits) {
  std::mt19937_64 random(testing::seed());
  for (int i = 0; i < 200'000; ++i) {
    const auto wide = std::bit_cast<double>(random());
    const auto narrow = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isfinite(wide)) {
      if (!EXPECT(std::bit_cast<uint64_t>(read(f64_text(wide))) == std::bit_cast<uint64_t>(wide)))
        return;
    }
    if (std::isfinite(narrow)) {
      const auto back = static_cast<float>(read(f32_text(narrow)));
      if (!EXPECT(std::bit_cast<uint32_t>(back) == std::bit_cast<uint32_t>(narrow))) return;
    }
  }
}

TEST(numbers_are_read_to_the_nearest_float) {
  EXPECT_EQ(read("123456789012345678901234567890"), 123456789012345678901234567890.0);
  EXPECT_EQ(read("9007199254740993"), 9007199254740992.0);
  EXPECT_EQ(read("0.1"), 0.1);
  EXPECT_EQ(read("1e22"), 1e22);
  EXPECT_EQ(read("1e23"), 1e23);
  EXPECT_EQ(read("1E-7"), 1e-7);
  EXPECT_EQ(read("2.2250738585072011e-308"), 2.2250738585072011e-308);
  EXPECT_EQ(read("1e-400"), 0.0);
  EXPECT(std::isinf(read("1e400")));
  EXPECT(std::isinf(read("1" + std::string(400, '0'))));
  EXPECT_EQ(read("0." + std::string(400, '0') + "1e401"), 1.0);
  EXPECT_EQ(read("1e99999999999999999999"), HUGE_VAL);
  EXPECT_EQ(read("-1e-99999999999999999999"), 0.0);
  EXPECT(std::isnan(read("NaN")));
  EXPECT_EQ(read("-Inf"), -HUGE_VAL);
  EXPECT_EQ(read("Infinity"), HUGE_VAL);
}

TEST(minus_zero_is_zero_only_as_an_integer) {
  EXPECT(!std::signbit(read("-0")));
  EXPECT(std::signbit(read("-0.0")));
  EXPECT(std::signbit(read("-0e1")));
}

TEST(integers_are_exact_to_64_bits) {
  const auto integer = [](std::string_view text) {
    WrittenInteger value;
    read_integer_text(text.data(), text.data() + text.size(), value);
    return value;
  };
  EXPECT_EQ(integer("18446744073709551615").magnitude, std::numeric_limits<uint64_t>::max());
  EXPECT(!integer("18446744073709551615").is_big);
  EXPECT(integer("18446744073709551616").is_big);
  EXPECT(integer("99999999999999999999").is_big);
  EXPECT(integer("-100000000000000000000").is_big);
  EXPECT(integer("-5").is_negative);
  EXPECT(!integer("-0").is_negative);
}

TEST(halves_round_to_even) {
  EXPECT_EQ(f64_to_f16(65519.99), 0x7BFF);
  EXPECT_EQ(f64_to_f16(65520), 0x7C00);
  EXPECT_EQ(f64_to_f16(1 + 0x1p-11), 0x3C00);
  EXPECT_EQ(f64_to_f16(1 + 3 * 0x1p-11), 0x3C02);
  EXPECT_EQ(f64_to_f16(0x1p-25), 0);
  EXPECT_EQ(f64_to_f16(0x1.0001p-25), 1);
  EXPECT_EQ(f64_to_f16(-0x1p-24), 0x8001);
  for (int bits = 0; bits < 0x7C00; ++bits) {
    if (!EXPECT_EQ(f64_to_f16(f16_to_f64(static_cast<uint16_t>(bits))), bits)) return;
  }
}

}  // namespace
}  // namespace pelton
