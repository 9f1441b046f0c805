// SPDX-License-Identifier: MIT
#include "core/within.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "core/clock.hpp"
#include "core/futex.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

TEST_CASE("what is over in time was done, on another thread, without signals") {
  int result = 0;
  std::thread::id who;
  bool is_blocked = false;
  CHECK(run_within(kHour, [&] {
    result = 42;
    who = std::this_thread::get_id();
    sigset_t set;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
    is_blocked = ::sigismember(&set, SIGINT) == 1;
  }));
  CHECK(result == 42);
  CHECK(who != std::this_thread::get_id());
  CHECK(is_blocked);
  sigset_t own;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &own);
  CHECK(::sigismember(&own, SIGINT) == 0);
}

TEST_CASE("what hangs is left to itself, and what it shares lives until it is over") {
  auto hangs = std::make_shared<std::atomic<std::uint32_t>>(1);
  const std::weak_ptr<std::atomic<std::uint32_t>> watched = hangs;
  CHECK_FALSE(run_within(20 * kMs, [hangs] { while (hangs->load() != 0) futex_wait(*hangs, 1, soon()); }));
  CHECK(watched.use_count() > 1);
  hangs->store(0);
  futex_wake(*hangs);
  hangs.reset();
  const std::int64_t deadline_ns = soon();
  while (!watched.expired() && now_ns() < deadline_ns) ::usleep(100);
  CHECK(watched.expired());
}

TEST_CASE("what it holds is let go before the caller goes on") {
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = held;
  CHECK(run_within(kHour, [mine = std::move(held)] { (void)mine; }));
  CHECK(watched.expired());
}
