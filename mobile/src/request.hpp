// The fields of a request, checked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine.hpp"
#include "json.hpp"

namespace edgedistil {

// One request. All functions throw Failure, with the field's name, when it is missing or of another kind.
class Request {
 public:
  explicit Request(const json::Value& fields) : fields_(fields) {}

  bool has(const char* name) const { return fields_.find(name) != nullptr; }
  const std::string& text(const char* name) const;
  // A whole number of at least `least`, and below 2^31.
  int number(const char* name, int least) const;
  // [[id, ...], ...].
  Rows rows(const char* name) const;
  // [[[id, ...], ...], ...].
  std::vector<Rows> batches(const char* name) const;
  // {key: text, ...}; empty when the field is missing.
  std::map<std::string, std::string> settings(const char* name) const;
  // Rows of types to match `ids`; a missing field means types of 0. Throws also when their numbers differ.
  Rows types_for(const Rows& ids) const;

 private:
  const json::Value& field(const char* name) const;
  const json::Value& fields_;
};

}  // namespace edgedistil
