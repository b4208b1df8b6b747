#include "request.hpp"

#include "errors.hpp"

namespace edgedistil {
namespace {

[[noreturn]] void refuse(const char* name, const char* wanted) {
  throw Failure(std::string("the request's '") + name + "' is not " + wanted);
}

Rows rows_of(const json::Value& value, const char* name) {
  static constexpr const char* kWanted = "made of rows of whole numbers";
  Rows found;
  const json::Array* rows = value.as<json::Array>();
  if (!rows) refuse(name, kWanted);
  for (const json::Value& row : *rows) {
    const json::Array* numbers = row.as<json::Array>();
    if (!numbers) refuse(name, kWanted);
    Row& filled = found.emplace_back();
    filled.reserve(numbers->size());
    for (const json::Value& number : *numbers) {
      const std::int64_t* whole = number.as<std::int64_t>();
      if (!whole) refuse(name, kWanted);
      filled.push_back(*whole);
    }
  }
  return found;
}

}  // namespace

const json::Value& Request::field(const char* name) const {
  const json::Value* found = fields_.find(name);
  if (!found) throw Failure(std::string("the request has no '") + name + "'");
  return *found;
}

const std::string& Request::text(const char* name) const {
  const std::string* found = field(name).as<std::string>();
  // A NUL would end the text early for the system's own functions.
  if (!found || found->find('\0') != std::string::npos) refuse(name, "a text");
  return *found;
}

int Request::number(const char* name, int least) const {
  const std::int64_t* found = field(name).as<std::int64_t>();
  if (!found || *found < least || *found > INT32_MAX) refuse(name, least ? "a number from 1" : "a number from 0");
  return static_cast<int>(*found);
}

Rows Request::rows(const char* name) const { return rows_of(field(name), name); }

std::vector<Rows> Request::batches(const char* name) const {
  const json::Array* batches = field(name).as<json::Array>();
  if (!batches) refuse(name, "a list of batches");
  std::vector<Rows> found;
  for (const json::Value& batch : *batches) found.push_back(rows_of(batch, name));
  return found;
}

std::map<std::string, std::string> Request::settings(const char* name) const {
  std::map<std::string, std::string> found;
  if (!has(name)) return found;
  const json::Object* fields = field(name).as<json::Object>();
  if (!fields) refuse(name, "an object of texts");
  for (const auto& [key, value] : *fields) {
    const std::string* text = value.as<std::string>();
    if (!text) refuse(name, "an object of texts");
    found[key] = *text;
  }
  return found;
}

Rows Request::types_for(const Rows& ids) const {
  if (!has("types")) return Rows(ids.size());
  Rows types = rows("types");
  if (types.size() != ids.size()) throw Failure("ids and types differ in their number of rows");
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (types[row].size() != ids[row].size()) throw Failure("a row's ids and types differ in length");
  }
  return types;
}

}  // namespace edgedistil
