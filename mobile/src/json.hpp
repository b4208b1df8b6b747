// JSON values, a strict reader (RFC 8259) and a writer of single lines.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace edgedistil::json {

class Value;
using Array = std::vector<Value>;
// In the order of writing; requests are small, so a search from the front is quick enough.
using Object = std::vector<std::pair<std::string, Value>>;

// Whole numbers that fit into 64 bits are kept apart from all others: token ids must not become 1.0.
class Value {
 public:
  Value() : held_(nullptr) {}
  Value(bool value) : held_(value) {}
  Value(int value) : held_(std::int64_t{value}) {}
  Value(std::int64_t value) : held_(value) {}
  Value(double value) : held_(value) {}
  Value(const char* value) : held_(std::string(value)) {}
  Value(std::string value) : held_(std::move(value)) {}
  Value(Array value) : held_(std::move(value)) {}
  Value(Object value) : held_(std::move(value)) {}

  // The value as a T (bool, int64_t, double, string, Array, Object), or null when it is of another kind.
  template <typename T>
  const T* as() const {
    return std::get_if<T>(&held_);
  }

  // The value of a key of an object; null when there is no such key, or when this is no object.
  const Value* find(std::string_view key) const;

  // Adds a key to an object. Keys are not looked up: each one is added once.
  void add(std::string key, Value value);

  // One line without blanks. Doubles have as few digits as read back to the same bits; NaN and the infinities are
  // written as Python's json module does, since its reader takes them.
  std::string line() const;

 private:
  void write(std::string& out) const;
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> held_;
};

// What is wrong with a text, and at which byte.
struct Malformed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The value that the text is, all of it.
// Throws Malformed on anything that RFC 8259 forbids, and on keys that come twice, numbers that no double holds,
// text that is not UTF-8, lone surrogates, and more than 64 levels.
Value parse(std::string_view text);

}  // namespace edgedistil::json
