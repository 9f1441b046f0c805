// SPDX-License-Identifier: MIT
// A real counter that (almost) every machine lets us read: a group of three perf events on one CPU, else a file. Each
// benchmark opens it twice: as a source for the sampler, and bare for a loop that does nothing but the same system call.
#pragma once

#include <memory>
#include <string>

#include "core/source.hpp"

namespace bench {

// One system call that reads everything; an open file descriptor and nothing else.
class BareCounter {
 public:
  BareCounter();
  ~BareCounter();
  BareCounter(const BareCounter&) = delete;
  BareCounter& operator=(const BareCounter&) = delete;

  // False: the call failed.
  bool read() noexcept;

  [[nodiscard]] bool is_perf() const noexcept { return is_perf_; }
  [[nodiscard]] std::string what() const;

 private:
  int fd_ = -1;
  bool is_perf_ = false;
};

// The same counters as the sources of the library read them. Throws powerprobe::Error.
std::unique_ptr<powerprobe::Source> open_counter(const BareCounter& like);

// The CPU whose counters they read.
int counter_cpu();

// Pins the calling thread, and the threads that it starts, to the CPU whose counters are read: from another one each reading
// would be an interrupt there. Returns its number.
int stay_on_one_cpu();

}  // namespace bench
