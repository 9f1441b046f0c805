// SPDX-License-Identifier: MIT
// Calls that may never come back, made so that the caller does.
#pragma once

#include <cstdint>
#include <functional>

namespace powerprobe {

// Calls `function` on a thread of its own and waits for it. False: it was not over after timeout_ns, and is left to itself: it
// must own (share) whatever it touches, and must not throw. True as well where no thread can be had: then it was called here.
bool run_within(std::int64_t timeout_ns, std::function<void()> function);

}  // namespace powerprobe
