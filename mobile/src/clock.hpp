// Clocks in nanoseconds; the same ones that the Python workers read.
#pragma once

#include <time.h>

#include <cstdint>

namespace edgedistil {

inline std::int64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

// System-wide: another process on this device may subtract its own.
inline std::int64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }

// Processor time of all threads of this process.
inline std::int64_t process_ns() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

inline double milliseconds(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace edgedistil
