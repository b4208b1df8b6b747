#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "json.hpp"

namespace edgedistil::json {
namespace {

constexpr int kMaximalDepth = 64;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Value whole() {
    Value value = read(0);
    skip_blanks();
    if (at_ != text_.size()) fail("something follows the value");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Malformed("malformed JSON: " + what + " at byte " + std::to_string(at_));
  }

  // The next byte, or 0 at the end (a NUL is nowhere allowed, so that no one can mistake it).
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }

  bool take(char expected) {
    skip_blanks();
    if (peek() != expected) return false;
    ++at_;
    return true;
  }

  void demand(char expected) {
    if (!take(expected)) fail(at_ == text_.size() ? "the text ends" : std::string("no '") + expected + "'");
  }

  Value read(int depth) {
    if (depth > kMaximalDepth) fail("more than 64 levels");
    skip_blanks();
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return Value(string());
      case 't': return word("true", Value(true));
      case 'f': return word("false", Value(false));
      case 'n': return word("null", Value());
      default: return number();
    }
  }

  Value word(std::string_view expected, Value value) {
    if (text_.substr(at_, expected.size()) != expected) fail("no value");
    at_ += expected.size();
    return value;
  }

  Value object(int depth) {
    Value found{Object{}};
    demand('{');
    if (take('}')) return found;
    do {
      skip_blanks();
      std::string key = string();
      if (found.find(key)) fail("the key \"" + key + "\" comes twice");
      demand(':');
      found.add(std::move(key), read(depth + 1));
    } while (take(','));
    demand('}');
    return found;
  }

  Value array(int depth) {
    Array found;
    demand('[');
    if (take(']')) return found;
    do {
      found.push_back(read(depth + 1));
    } while (take(','));
    demand(']');
    return found;
  }

  void digits() {
    if (peek() < '0' || peek() > '9') fail(at_ == text_.size() ? "the text ends" : "no value");
    while (peek() >= '0' && peek() <= '9') ++at_;
  }

  Value number() {
    const std::size_t start = at_;
    bool whole = true;
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    if (peek() == '.') {
      whole = false;
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    const std::string digits_read(text_.substr(start, at_ - start));
    if (whole) {
      errno = 0;
      const long long value = std::strtoll(digits_read.c_str(), nullptr, 10);
      if (errno == 0) return Value(std::int64_t{value});
    }
    const double value = std::strtod(digits_read.c_str(), nullptr);
    if (!std::isfinite(value)) fail("a number too large");
    return Value(value);
  }

  std::string string() {
    if (peek() != '"') fail(at_ == text_.size() ? "the text ends" : "no string");
    ++at_;
    std::string found;
    while (true) {
      if (at_ == text_.size()) fail("the text ends");
      const unsigned char byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') {
        ++at_;
        return found;
      }
      if (byte < 0x20) fail("a control character in a string");
      if (byte == '\\') {
        ++at_;
        escape(found);
      } else if (byte < 0x80) {
        found.push_back(text_[at_++]);
      } else {
        sequence(found);
      }
    }
  }

  void escape(std::string& found) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const char name = peek();
    if (name == 'u') {
      ++at_;
      append(found, escaped_point());
      return;
    }
    const std::size_t place = name ? kNames.find(name) : std::string_view::npos;
    if (place == std::string_view::npos) fail("an unknown escape");
    found.push_back(kMeanings[place]);
    ++at_;
  }

  std::uint32_t four_digits() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char digit = peek();
      const int worth = digit >= '0' && digit <= '9'   ? digit - '0'
                        : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                        : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                       : -1;
      if (worth < 0) fail("an escape without four hexadecimal digits");
      value = value * 16 + static_cast<std::uint32_t>(worth);
    }
    return value;
  }

  std::uint32_t escaped_point() {
    const std::uint32_t first = four_digits();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || text_.substr(at_, 2) != "\\u") fail("a lone surrogate");
    at_ += 2;
    const std::uint32_t second = four_digits();
    if (second < 0xDC00 || second > 0xDFFF) fail("a lone surrogate");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  static void append(std::string& found, std::uint32_t point) {
    const auto put = [&found](std::uint32_t byte) { found.push_back(static_cast<char>(byte)); };
    if (point < 0x80) {
      put(point);
    } else if (point < 0x800) {
      put(0xC0 | point >> 6);
      put(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
      put(0xE0 | point >> 12);
      put(0x80 | (point >> 6 & 0x3F));
      put(0x80 | (point & 0x3F));
    } else {
      put(0xF0 | point >> 18);
      put(0x80 | (point >> 12 & 0x3F));
      put(0x80 | (point >> 6 & 0x3F));
      put(0x80 | (point & 0x3F));
    }
  }

  // One character of two to four bytes: the shortest form only, no surrogates, nothing above U+10FFFF.
  void sequence(std::string& found) {
    const auto byte_at = [this](std::size_t place) {
      return place < text_.size() ? static_cast<unsigned char>(text_[place]) : 0U;
    };
    const std::uint32_t lead = byte_at(at_);
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4) fail("bytes that are not UTF-8");
    std::uint32_t point = lead & (length == 2 ? 0x1F : length == 3 ? 0x0F : 0x07);
    for (std::size_t i = 1; i < length; ++i) {
      if ((byte_at(at_ + i) & 0xC0) != 0x80) fail("bytes that are not UTF-8");
      point = point << 6 | (byte_at(at_ + i) & 0x3F);
    }
    const std::uint32_t smallest = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
    if (point < smallest || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) fail("bytes that are not UTF-8");
    found.append(text_.substr(at_, length));
    at_ += length;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Value parse(std::string_view text) { return Reader(text).whole(); }

}  // namespace edgedistil::json
