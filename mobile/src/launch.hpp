// The start of this process on this device's own clock.
#pragma once

#include "json.hpp"

namespace edgedistil {

// A process that another machine asked for has no parent here that could say when it began. The first call notes the
// clock and puts this program in its own place once more, by the same command; the second one, in the fresh process,
// returns {"spawned": ns}. So the loader's work is in the first phase, as it is for a worker that a parent started.
// Throws Fatal when the system can't start it again.
json::Object launch_again();

}  // namespace edgedistil
