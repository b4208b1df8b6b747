// The page cache, so that loading a model waits for no disk.
#pragma once

#include <string>

namespace edgedistil {

// Brings all of a file into the page cache: mapped and faulted in window by window, so that it is neither copied nor
// part of the process's peak; read in pieces where the kernel can't do that (before Linux 5.14).
// Throws Failure when it can't be read.
void read_through(const std::string& file);

}  // namespace edgedistil
