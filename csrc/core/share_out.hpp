// SPDX-License-Identifier: MIT
// A large piece of arithmetic on a few threads at once.
#pragma once

#include <cstddef>
#include <functional>

namespace powerprobe {

// Calls work(begin, end) for parts that make up [0, count), none of them shorter than `least` unless it is the only one: on
// this thread and on as many more as there are parts and CPUs for, four in all at most. Returns when all is done and the
// threads are gone. `work` must not throw; where no thread can be had it is called here.
void share_out(std::size_t count, std::size_t least, const std::function<void(std::size_t, std::size_t)>& work);

}  // namespace powerprobe
