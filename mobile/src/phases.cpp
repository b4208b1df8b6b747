#include "phases.hpp"

#include <algorithm>
#include <utility>

#include "clock.hpp"
#include "memory.hpp"

namespace edgedistil {

Phases::Phases(std::string folder) : folder_(std::move(folder)) { reset_peak(); }

void Phases::end(const char* name) {
  const std::int64_t now = monotonic_ns();
  ends_.emplace_back(name, now - looked_ns_);
  json::Value found = memory(folder_);
  if (const json::Value* peak = found.find("peak_rss_mb")) peak_mb_ = std::max(peak_mb_, *peak->as<double>());
  memory_.emplace_back(name, std::move(found));
  reset_peak();
  looked_ns_ += monotonic_ns() - now;
}

void Phases::add_to(json::Value& clocks) const {
  for (const auto& [name, end] : ends_) clocks.add(name, end);
}

}  // namespace edgedistil
