// SPDX-License-Identifier: MIT
#include "core/within.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/clock.hpp"
#include "core/futex.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;
using namespace std::chrono_literals;

TEST_CASE("what is over in time gives its result, from another thread that takes no signals") {
  const std::thread::id own = std::this_thread::get_id();
  const auto result = run_within(1h, [own] {
    sigset_t set;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
    return std::this_thread::get_id() != own && ::sigismember(&set, SIGINT) == 1;
  });
  REQUIRE(result.has_value());
  CHECK(*result);
  sigset_t set;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
  CHECK(::sigismember(&set, SIGINT) == 0);
}

TEST_CASE("what it throws is thrown to who waits") {
  CHECK_THROWS_WITH_AS(run_within(1h, []() -> int { throw std::runtime_error("no board"); }), "no board", std::runtime_error);
}

TEST_CASE("what hangs is left to itself, and what it owns lives until it is over") {
  auto hangs = std::make_shared<std::atomic<std::uint32_t>>(1);
  const std::weak_ptr<std::atomic<std::uint32_t>> watched = hangs;
  CHECK_FALSE(run_within(20ms, [hangs] {
                while (hangs->load() != 0) futex_wait(*hangs, 1, soon());
                return true;
              }).has_value());
  CHECK(watched.use_count() > 1);
  hangs->store(0);
  futex_wake(*hangs);
  hangs.reset();
  const std::int64_t deadline_ns = soon();
  while (!watched.expired() && now_ns() < deadline_ns) ::usleep(100);
  CHECK(watched.expired());
}
