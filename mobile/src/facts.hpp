// What the processor is and can do.
#pragma once

#include "json.hpp"

namespace edgedistil {

// machine (as uname names it), cpu (name or null), cpu_parts (arm: "implementer:part" of each kind of core, in
// ascending order), isa (the instruction sets that decide ONNX Runtime's kernels, under the kernel's names), and on
// arm hwcap and hwcap2 (the kernel's bit masks, hexadecimal).
json::Value processor_facts();

}  // namespace edgedistil
