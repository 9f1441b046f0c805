// SPDX-License-Identifier: MIT
#include "core/share_out.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <thread>

#include "core/without_signals.hpp"

namespace powerprobe {
namespace {

constexpr std::size_t kMostThreads = 4;

// That this process may use; 1 if there are so many that they do not fit the set.
std::size_t cpus() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::size_t>(CPU_COUNT(&set));
}

}  // namespace

void share_out(std::size_t count, std::size_t least, const std::function<void(std::size_t, std::size_t)>& work) {
  const std::size_t parts = std::max<std::size_t>(1, std::min({kMostThreads, cpus(), count / least}));
  if (parts == 1) return work(0, count);
  std::array<std::thread, kMostThreads> threads;
  std::size_t begin = 0;
  for (std::size_t part = 1; part < parts; ++part) {
    const std::size_t end = count / parts * part;
    try {
      const WithoutSignals blocked;
      threads[part] = std::thread(std::cref(work), begin, end);
    } catch (const std::system_error&) {  // no more threads for this process: the rest is done here
      break;
    }
    begin = end;
  }
  work(begin, count);
  for (std::thread& thread : threads) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace powerprobe
