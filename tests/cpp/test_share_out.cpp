// SPDX-License-Identifier: MIT
#include "core/share_out.hpp"

#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

using powerprobe::share_out;

namespace {

struct Seen {
  std::vector<std::pair<std::size_t, std::size_t>> parts;  // in order
  std::set<std::thread::id> threads;
  bool all_block_signals = true;  // those that are not ours
};

Seen share(std::size_t count, std::size_t least) {
  Seen seen;
  std::mutex mutex;
  const auto caller = std::this_thread::get_id();
  share_out(count, least, [&](std::size_t begin, std::size_t end) {
    sigset_t blocked;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    const std::lock_guard lock(mutex);
    seen.parts.emplace_back(begin, end);
    seen.threads.insert(std::this_thread::get_id());
    if (std::this_thread::get_id() != caller) seen.all_block_signals &= ::sigismember(&blocked, SIGINT) == 1;
  });
  std::sort(seen.parts.begin(), seen.parts.end());
  return seen;
}

}  // namespace

TEST_CASE("the parts make up the whole, none is short, and there are four at most") {
  for (const std::size_t count : {0u, 1u, 99u, 199u, 200u, 201u, 399u, 1001u, 100'003u}) {
    CAPTURE(count);
    const Seen seen = share(count, 100);
    CHECK(seen.parts.size() >= 1);
    CHECK(seen.parts.size() <= 4);
    CHECK(seen.threads.size() == seen.parts.size());
    CHECK(seen.all_block_signals);
    std::size_t at = 0;
    for (const auto& [begin, end] : seen.parts) {
      CHECK(begin == at);
      CHECK((end - begin >= 100 || seen.parts.size() == 1));
      at = end;
    }
    CHECK(at == count);
  }
}

TEST_CASE("what is not worth two threads stays on this one, and this one keeps its signals") {
  const Seen seen = share(199, 100);
  CHECK(seen.threads == std::set{std::this_thread::get_id()});
  share(1000, 100);
  sigset_t blocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  CHECK(::sigismember(&blocked, SIGINT) == 0);
}

TEST_CASE("more than one CPU takes part where there are more") {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  if (CPU_COUNT(&set) < 2) return;
  CHECK(share(1000, 100).threads.size() >= 2);
}
