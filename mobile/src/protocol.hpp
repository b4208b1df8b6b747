// The worker protocol: one request, one answer. docs/mobile.md describes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine.hpp"
#include "json.hpp"

namespace edgedistil {

class Protocol {
 public:
  // `clocks`: what is known of the start already, ns of the monotonic clock.
  Protocol(std::string library, json::Object clocks) : engine_(std::move(library)), clocks_(std::move(clocks)) {}

  // Throws Failure when the request can't be done, Fatal when no other could be done either.
  json::Value answer(const std::string& op, const json::Value& fields);

 private:
  json::Value load(const json::Value& fields);
  json::Value prepare(const json::Value& fields);
  json::Value time(const json::Value& fields) const;
  json::Value predict(const json::Value& fields) const;
  json::Value spans(const json::Value& fields) const;

  Engine engine_;
  json::Object clocks_;
  std::string folder_;
  std::map<std::string, std::vector<Packed>> prepared_;
};

}  // namespace edgedistil
