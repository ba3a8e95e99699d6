// SPDX-License-Identifier: Apache-2.0
// What the files of learned state have in common: their first bytes, and integers and
// floats written little-endian and read without ever leaving the data.
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace lodestar::learn {

// A file: magic, u32 format version, u32 kind, ..., SipHash-1-3 (key 0) of all before.
inline constexpr std::string_view kFileMagic = "LODEPRED";
inline constexpr std::uint32_t kFileKindPaper = 1;     // predictor_file.h
inline constexpr std::uint32_t kFileKindForecast = 2;  // forecast_file.h
inline constexpr std::size_t kFileChecksumBytes = 8;

class FileWriter {
 public:
  void bytes(std::string_view s) { out_.append(s); }
  void u32(std::uint32_t v) { integer(v, 4); }
  void u64(std::uint64_t v) { integer(v, 8); }
  void f64(double v) { u64(std::bit_cast<std::uint64_t>(v)); }
  void f32(std::span<const float> values) {
    for (float v : values) u32(std::bit_cast<std::uint32_t>(v));
  }
  std::string take() { return std::move(out_); }
  const std::string& view() const { return out_; }

 private:
  void integer(std::uint64_t v, int size) {
    for (int i = 0; i < size; ++i) out_.push_back(static_cast<char>(v >> (8 * i) & 0xff));
  }
  std::string out_;
};

// Reading past the end gives zeros and sets short(): one check at the end.
class FileReader {
 public:
  explicit FileReader(std::string_view data) : data_(data) {}
  std::string_view bytes(std::size_t n) {
    if (data_.size() - at_ < n) {
      short_ = true;
      return {};
    }
    at_ += n;
    return data_.substr(at_ - n, n);
  }
  std::uint32_t u32() { return static_cast<std::uint32_t>(integer(4)); }
  std::uint64_t u64() { return integer(8); }
  double f64() { return std::bit_cast<double>(u64()); }
  void f32(std::span<float> values) {
    for (float& v : values) v = std::bit_cast<float>(u32());
  }
  bool is_short() const { return short_; }
  std::size_t left() const { return data_.size() - at_; }

 private:
  std::uint64_t integer(std::size_t size) {
    const std::string_view s = bytes(size);
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < s.size(); ++i)
      v |= static_cast<std::uint64_t>(static_cast<unsigned char>(s[i])) << (8 * i);
    return v;
  }
  std::string_view data_;
  std::size_t at_ = 0;
  bool short_ = false;
};

inline std::string hex(std::uint64_t v) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 0; i < 16; ++i) text[15 - i] = kDigits[v >> (4 * i) & 15];
  return text;
}

inline std::string mismatch(const char* what, std::uint64_t found, std::uint64_t expected) {
  return std::string(what) + " is " + std::to_string(found) + ", this build has " +
         std::to_string(expected);
}

}  // namespace lodestar::learn
