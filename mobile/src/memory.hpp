// What the kernel says about this process's memory; MB are 10^6 bytes.
#pragma once

#include <string>

#include "json.hpp"

namespace edgedistil {

// peak_rss_mb (the kernel's high-water mark), rss_mb, rss_anonymous_mb, rss_file_mb, and with a folder
// rss_model_files_mb: how much of the files in it is mapped and resident.
json::Value memory(const std::string& folder);

// Sets the high-water mark back to the present size; false where the kernel forbids it.
bool reset_peak();

}  // namespace edgedistil
