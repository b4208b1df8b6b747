// The command line and the environment.
#pragma once

#include <string>
#include <vector>

namespace edgedistil {

struct Options {
  std::vector<int> cores;  // empty: wherever the scheduler likes
  std::string library;     // empty: where the loader looks
  bool own_clock = false;  // whether the start of the process is to be seen on this device's own clock
};

// --cores LIST (else the environment's EDGEDISTIL_CORES), --library FILE, --own-clock.
// Throws Fatal (misused) for anything else.
Options read_options(int count, char** arguments);

}  // namespace edgedistil
