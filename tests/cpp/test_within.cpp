// SPDX-License-Identifier: MIT
#include "core/within.hpp"

#include <doctest/doctest.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <string>

#include "core/error.hpp"

using namespace powerprobe;
using namespace std::chrono_literals;

TEST_CASE("what comes in time is returned") {
  const auto text = run_within(60s, [] { return std::string("here"); });
  REQUIRE(text.has_value());
  CHECK(*text == "here");
}

TEST_CASE("it runs on a thread of its own, which takes no signals, and the caller goes on taking them") {
  const std::thread::id caller = std::this_thread::get_id();
  const auto is_apart = run_within(60s, [caller] {
    sigset_t set;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
    return std::this_thread::get_id() != caller && ::sigismember(&set, SIGINT) == 1;
  });
  REQUIRE(is_apart.has_value());
  CHECK(*is_apart);
  sigset_t own;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &own);
  CHECK(::sigismember(&own, SIGINT) == 0);
}

TEST_CASE("what is thrown in time is thrown to the caller") {
  CHECK_THROWS_AS((void)run_within(60s, []() -> int { throw Error(ErrorKind::kGone, "gone"); }), Error);
}

TEST_CASE("what hangs is left alone, goes on by itself, and what it brings at last is destroyed") {
  struct Witness {
    std::shared_ptr<std::atomic<bool>> destroyed;
    ~Witness() {
      if (destroyed) destroyed->store(true);  // partner: the loop below
    }
    explicit Witness(std::shared_ptr<std::atomic<bool>> flag) : destroyed(std::move(flag)) {}
    Witness(Witness&& other) noexcept = default;
    Witness& operator=(Witness&& other) noexcept = default;
  };
  const auto go_on = std::make_shared<std::atomic<bool>>(false);
  const auto destroyed = std::make_shared<std::atomic<bool>>(false);

  const auto late = run_within(1ms, [go_on, destroyed] {
    while (!go_on->load()) std::this_thread::yield();  // partner: the store below
    return Witness(destroyed);
  });

  CHECK_FALSE(late.has_value());
  CHECK_FALSE(destroyed->load());
  go_on->store(true);
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (!destroyed->load() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  CHECK(destroyed->load());
}
