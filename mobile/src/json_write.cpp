#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "json.hpp"

namespace edgedistil::json {
namespace {

void write_string(std::string& out, const std::string& text) {
  out.push_back('"');
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == '"' || byte == '\\') {
      out.push_back('\\');
      out.push_back(character);
    } else if (byte < 0x20 || byte == 0x7F) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out.push_back(character);
    }
  }
  out.push_back('"');
}

void write_double(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value < 0 ? "-Infinity" : "Infinity";
  } else {
    char digits[40];
    for (int precision = 15; precision <= 17; ++precision) {
      std::snprintf(digits, sizeof digits, "%.*g", precision, value);
      if (std::strtod(digits, nullptr) == value) break;
    }
    out += digits;
    // A double stays one when it is read back.
    if (out.find_first_of(".e", out.size() - std::char_traits<char>::length(digits)) == std::string::npos) out += ".0";
  }
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  if (const Object* object = as<Object>()) {
    for (const auto& [name, value] : *object) {
      if (name == key) return &value;
    }
  }
  return nullptr;
}

void Value::add(std::string key, Value value) {
  std::get<Object>(held_).emplace_back(std::move(key), std::move(value));
}

std::string Value::line() const {
  std::string out;
  write(out);
  return out;
}

void Value::write(std::string& out) const {
  if (const bool* truth = as<bool>()) {
    out += *truth ? "true" : "false";
  } else if (const std::int64_t* whole = as<std::int64_t>()) {
    out += std::to_string(*whole);
  } else if (const double* number = as<double>()) {
    write_double(out, *number);
  } else if (const std::string* text = as<std::string>()) {
    write_string(out, *text);
  } else if (const Array* array = as<Array>()) {
    char before = '[';
    for (const Value& value : *array) {
      out.push_back(before);
      value.write(out);
      before = ',';
    }
    out += array->empty() ? "[]" : "]";
  } else if (const Object* object = as<Object>()) {
    char before = '{';
    for (const auto& [key, value] : *object) {
      out.push_back(before);
      write_string(out, key);
      out.push_back(':');
      value.write(out);
      before = ',';
    }
    out += object->empty() ? "{}" : "}";
  } else {
    out += "null";
  }
}

}  // namespace edgedistil::json
