// Where this process may run.
#pragma once

#include <string>
#include <vector>

#include "json.hpp"

namespace edgedistil {

// "0,2" or "4-7" or both, as core numbers in ascending order, each once. Throws Fatal (misused) for anything else.
std::vector<int> parse_cores(const std::string& text);

// Keeps this process, and the threads that it starts from now on, on these cores.
// Throws Fatal when the kernel refuses, or when it grants only some of them.
void stay_on(const std::vector<int>& cores);

// The cores that this process may use; null where the kernel does not say.
json::Value present_cores();

}  // namespace edgedistil
