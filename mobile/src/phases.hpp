// The phases of a start: a clock and the memory at the end of each, without the time that looking at them takes.
#pragma once

#include <cstdint>
#include <string>

#include "json.hpp"

namespace edgedistil {

// Reading /proc takes milliseconds in a large process: later ends are put forward by them, as if it had taken no
// time. The kernel's high-water mark is set back at the end of each phase, so that each peak is that phase's own.
class Phases {
 public:
  // `folder`: the model's, whose mapped files are told apart.
  explicit Phases(std::string folder);

  // Closes the phase that runs and begins the next one.
  void end(const char* name);

  // Adds all ends (ns of the monotonic clock) to an object of clocks.
  void add_to(json::Value& clocks) const;
  json::Value memory_by_phase() const { return memory_; }
  // The highest of the phases' peaks, MB.
  double peak_mb() const { return peak_mb_; }

 private:
  std::string folder_;
  std::int64_t looked_ns_ = 0;
  json::Object ends_;
  json::Object memory_;
  double peak_mb_ = 0;
};

}  // namespace edgedistil
