// SPDX-License-Identifier: MIT
// The child of a fork reads what its parent's probe finds. Real forks; children tell through a pipe.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/probe.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

// Until all edges have come that an answer up to t_ns looks at: three behind it. Somebody asks meanwhile.
void settle(Probe& probe, std::int64_t t_ns) {
  constexpr std::uint64_t kBehind = 4;
  const std::int64_t deadline_ns = soon();
  const auto is_settled = [&] {
    const Lease lease = probe.lease_newest(0, kBehind);
    return lease.edges().size() == kBehind && lease.edges().front().t_ns > t_ns;
  };
  while (!is_settled() && now_ns() < deadline_ns) ::usleep(500);
}

struct Bench {
  std::shared_ptr<Script> script = std::make_shared<Script>();
  std::unique_ptr<Probe> probe;

  std::int64_t start_ns = 0;  // of an interval that was asked for and is settled
  std::int64_t end_ns = 0;

  explicit Bench(const SamplerOptions& options = {.mode = Mode::kPoll, .period_ns = kMs / 4, .capacity = 1 << 14}) {
    std::vector<std::unique_ptr<Source>> sources;
    sources.push_back(std::make_unique<ScriptedSource>(std::vector{millijoules("package-0"), millijoules("dram-0")}, script));
    script->under_load(3);
    probe = std::make_unique<Probe>(std::move(sources), options);
  }

  // Goes on being asked for.
  void measure() {
    probe->start();
    probe->ask();
    start_ns = now_ns();
    ::usleep(5'000);
    end_ns = now_ns();
    settle(*probe, end_ns);
  }
};

// What a child has to tell.
struct Told {
  double before = 0.0;  // joules of the interval before the fork
  double after = 0.0;   // and of one after it
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  bool is_known = false;
};

Energy energy(const Probe& probe, std::int64_t start_ns, std::int64_t end_ns) {
  Energy answer;
  probe.energies(0, {&start_ns, 1}, {&end_ns, 1},
                 {{&answer.joules, 1}, {&answer.lower, 1}, {&answer.upper, 1}, {&answer.flags, 1}});
  return answer;
}

// How long the rings are decides how an answer is calculated, and so the last bit of it.
doctest::Approx nearly(double joules) { return doctest::Approx(joules).epsilon(1e-12); }

// Runs in_child in a child, which ends after it; returns what it told.
Told in_child(const std::function<Told()>& in_child, const std::function<void(int child)>& meanwhile = {}) {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const int child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Told told;
    try {
      told = in_child();
    } catch (const std::exception&) {
      ::_exit(2);
    }
    (void)!::write(pipe[1], &told, sizeof told);
    ::_exit(0);
  }
  ::close(pipe[1]);
  if (meanwhile) meanwhile(child);
  Told told;
  const bool is_told = ::read(pipe[0], &told, sizeof told) == sizeof told;
  ::close(pipe[0]);
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  CHECK(status == 0);
  CHECK(is_told);
  return told;
}

// Measures one interval before the fork and one of after it.
Told measure_both(const Probe& parents, const Bench& bench) {
  const std::unique_ptr<Probe> heir = parents.heir();
  heir->start();
  Told told;
  told.before = energy(*heir, bench.start_ns, bench.end_ns).joules;
  heir->ask();
  heir->wait_in_step(soon());
  told.start_ns = now_ns();
  ::usleep(5'000);
  told.end_ns = now_ns();
  settle(*heir, told.end_ns);
  told.after = energy(*heir, told.start_ns, told.end_ns).joules;
  told.is_known = heir->is_running() && heir->channel_stats(0).health == ReadStatus::kOk;
  return told;
}

}  // namespace

TEST_CASE("a child has the same answers as its parent, before the fork and after it") {
  for (const bool is_asked : {true, false}) {  // also while nobody else wants anything
    CAPTURE(is_asked);
    Bench bench;
    bench.measure();
    if (!is_asked) bench.probe->release();
    const Told told = in_child([&] { return measure_both(*bench.probe, bench); });
    CHECK(told.is_known);
    CHECK(told.before == nearly(energy(*bench.probe, bench.start_ns, bench.end_ns).joules));
    CHECK(told.before > 0.0);
    CHECK(told.after == nearly(energy(*bench.probe, told.start_ns, told.end_ns).joules));
    CHECK(told.after > 0.0);
  }
}

TEST_CASE("a grandchild has them too, whether its parent asked or not") {
  for (const bool has_heir : {true, false}) {
    CAPTURE(has_heir);
    Bench bench;
    bench.measure();
    const Told told = in_child([&] {
      std::unique_ptr<Probe> heir;
      if (has_heir) {
        heir = bench.probe->heir();
        heir->start();
      }
      Told grandchilds;
      std::array<int, 2> pipe{};
      if (::pipe(pipe.data()) != 0) return grandchilds;
      if (::fork() == 0) {
        grandchilds = measure_both(has_heir ? *heir : *bench.probe, bench);
        (void)!::write(pipe[1], &grandchilds, sizeof grandchilds);
        ::_exit(0);
      }
      (void)!::read(pipe[0], &grandchilds, sizeof grandchilds);
      return grandchilds;
    });
    CHECK(told.is_known);
    CHECK(told.before == nearly(energy(*bench.probe, bench.start_ns, bench.end_ns).joules));
    CHECK(told.after == nearly(energy(*bench.probe, told.start_ns, told.end_ns).joules));
  }
}

TEST_CASE("when the parent's probe is stopped, or its process ends, what was known stays and the rest is gone") {
  for (const bool is_killed : {false, true}) {
    CAPTURE(is_killed);
    const Told told = in_child([&] {  // the parent that ends must not be the test itself
      std::array<int, 2> pipe{};
      std::array<int, 2> ready{};
      if (::pipe(pipe.data()) != 0 || ::pipe(ready.data()) != 0) return Told{};
      const int parent = ::fork();
      if (parent == 0) {
        Bench bench;
        bench.measure();
        if (::fork() == 0) {
          const std::unique_ptr<Probe> heir = bench.probe->heir();
          heir->start();
          heir->ask();
          heir->wait_in_step(soon());
          (void)!::write(ready[1], "x", 1);
          const std::int64_t deadline_ns = soon();
          while (heir->channel_stats(0).health != ReadStatus::kGone && now_ns() < deadline_ns) ::usleep(500);
          Told childs;
          childs.before = energy(*heir, bench.start_ns, bench.end_ns).joules;
          childs.is_known = heir->channel_stats(0).health == ReadStatus::kGone;
          try {
            (void)energy(*heir, bench.start_ns, now_ns());
          } catch (const Error& error) {
            childs.after = error.kind() == ErrorKind::kGone ? 1.0 : 2.0;
          }
          childs.start_ns = heir->channel_stats(0).error;
          (void)!::write(pipe[1], &childs, sizeof childs);
          ::_exit(0);
        }
        char byte = 0;
        (void)!::read(ready[0], &byte, 1);
        if (!is_killed) bench.probe->stop();
        if (is_killed) ::kill(::getpid(), SIGKILL);
        ::pause();
      }
      Told passed_on;
      (void)!::read(pipe[0], &passed_on, sizeof passed_on);
      ::kill(parent, SIGKILL);
      ::waitpid(parent, nullptr, 0);
      return passed_on;
    });
    CHECK(told.is_known);
    CHECK(told.before > 0.0);
    CHECK(told.after == 1.0);
    CHECK(told.start_ns == (is_killed ? ESRCH : 0));
  }
}

TEST_CASE("what was made and not started is the parent's alone: both would write the same rings") {
  Bench bench;
  const Told told = in_child([&] {
    Told childs;
    try {
      bench.probe->start();
    } catch (const Error& error) {
      childs.is_known = error.kind() == ErrorKind::kUnavailable;
    }
    return childs;
  });
  CHECK(told.is_known);
  bench.measure();
  CHECK(energy(*bench.probe, bench.start_ns, bench.end_ns).joules > 0.0);
}

TEST_CASE("while no child asks, the parent's counters are let be") {
  Bench bench;
  bench.probe->start();
  const auto polls = [&] { return bench.probe->sampler_stats(0).polls; };
  std::uint64_t polls_of_asking = 0;
  (void)in_child([&] {
    const std::unique_ptr<Probe> heir = bench.probe->heir();
    heir->start();
    heir->ask();
    heir->wait_in_step(soon());
    heir->release();
    return Told{};
  });
  polls_of_asking = polls();
  CHECK(polls_of_asking > 1);
  const std::int64_t deadline_ns = soon();
  std::uint64_t before = polls();
  do {  // what was asked for 0.1 s ahead is over
    before = polls();
    ::usleep(200'000);
  } while (polls() > before + 1 && now_ns() < deadline_ns);
  CHECK(polls() <= before + 1);
}
