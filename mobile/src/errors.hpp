// The two ways in which something goes wrong.
#pragma once

#include <stdexcept>
#include <string>

namespace edgedistil {

// One request could not be done: an error line, then the next request.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Nothing more can be done: an error line, the end marker, and the process ends with `code`.
struct Fatal : std::runtime_error {
  Fatal(const std::string& message, int exit_code) : std::runtime_error(message), code(exit_code) {}
  int code;
};

// Exit codes: of a run that broke, and of a command line that makes no sense.
constexpr int kBroken = 1;
constexpr int kMisused = 2;

}  // namespace edgedistil
