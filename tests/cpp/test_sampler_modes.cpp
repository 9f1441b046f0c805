// SPDX-License-Identifier: MIT
// How a sampler looks at its counters, with a real thread and counters that step by the clock.
#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/sampler.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

constexpr std::int64_t kPeriod = kMs;

// Each counter steps every millisecond, the second half a millisecond after the first.
class Clocked : public Source {
 public:
  explicit Clocked(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      channels_.push_back(millijoules("package-" + std::to_string(i)));
      channels_.back().stale_ns = 2 * kPeriod;
      channels_.back().update_period_ns = kPeriod;
    }
  }
  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override {
    reads.fetch_add(1, std::memory_order_relaxed);
    policy.store(::sched_getscheduler(0), std::memory_order_relaxed);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = {.count = static_cast<std::uint64_t>((now_ns() - start_ns - phase_ns(i)) / kPeriod + 1)};
    }
  }
  static std::int64_t phase_ns(std::size_t channel) { return static_cast<std::int64_t>(channel) * kPeriod / 2; }

  const std::int64_t start_ns = now_ns();
  std::atomic<std::uint64_t> reads{0};
  std::atomic<int> policy{-1};

 private:
  std::vector<ChannelInfo> channels_;
};

struct Bench {
  Clocked* source;
  Sampler sampler;

  explicit Bench(const SamplerOptions& options = {}, std::size_t channels = 1) : Bench(std::make_unique<Clocked>(channels), options) {}
  Bench(std::unique_ptr<Clocked> clocked, const SamplerOptions& options)
      : source(clocked.get()), sampler(std::move(clocked), 0, options) {
    sampler.start();
  }

  // Waits, bounded, until that is so.
  template <typename Condition>
  void until(Condition&& condition) const {
    const std::int64_t deadline_ns = soon();
    while (!condition() && now_ns() < deadline_ns) ::usleep(100);
    REQUIRE(condition());
  }
  [[nodiscard]] std::uint64_t reads() const { return source->reads.load(); }
  // How many readings come while nothing is done for so long.
  [[nodiscard]] std::uint64_t reads_within(unsigned milliseconds) const {
    const std::uint64_t before = reads();
    ::usleep(milliseconds * 1000);
    return reads() - before;
  }
};

}  // namespace

TEST_CASE("tracking locates the steps of each channel between two polls in a row") {
  Bench bench({}, 2);
  bench.sampler.ask();
  for (std::size_t i = 0; i < 2; ++i) bench.until([&] { return bench.sampler.pace_stats(i).caught >= 200; });
  bench.sampler.stop();
  for (std::size_t i = 0; i < 2; ++i) {
    const Lease lease = bench.sampler.ring(i)->lease();
    std::size_t located = 0;
    for (const Edge& edge : lease.edges()) {
      if ((edge.flags & (kEdgeFirst | kEdgeQuiet | kEdgeLate)) != 0 || edge.gap_ns > kPeriod / 10) continue;
      // The only step within the gap is one of the counter's own.
      const std::int64_t since = edge.t_ns - bench.source->start_ns - Clocked::phase_ns(i);
      CHECK(since % kPeriod <= static_cast<std::int64_t>(edge.gap_ns));
      ++located;
    }
    CHECK(located >= 20);
    CHECK(bench.sampler.pace_stats(i).period_ns > 0);
  }
}

namespace {

// Brings nothing with every other reading, and a second part with each, of which there are no news.
class InParts : public Clocked {
 public:
  InParts() : Clocked(1) {}
  void read(std::span<Reading> out) noexcept override {
    Clocked::read(out);
    if (reads.load() % 4 != 1 && reads.load() > 1) out[0] = {.status = ReadStatus::kNoNews};
  }
  [[nodiscard]] bool has_more() const noexcept override { return reads.load() % 2 == 1; }
};

}  // namespace

TEST_CASE("a step that one part of a reading showed is tracked once, whatever the other parts bring") {
  Bench bench(std::make_unique<InParts>(), {});
  bench.sampler.ask();
  bench.until([&] { return bench.sampler.pace_stats(0).caught >= 30; });
  bench.sampler.stop();
  const PaceStats stats = bench.sampler.pace_stats(0);
  CHECK(static_cast<std::int64_t>(stats.caught + stats.spaced) <= (now_ns() - bench.source->start_ns) / kPeriod + 1);
  CHECK(static_cast<double>(stats.period_ns) == doctest::Approx(static_cast<double>(kPeriod)).epsilon(0.1));
}

TEST_CASE("tracking says of each step that was not seen as it came that it is late") {
  Bench bench({.budget = 1e-6});
  bench.sampler.ask();
  bench.until([&] { return bench.sampler.channel_stats(0).edges >= 30; });
  bench.sampler.stop();
  const Lease lease = bench.sampler.ring(0)->lease();
  std::size_t wide = 0;
  for (const Edge& edge : lease.edges()) {
    if ((edge.flags & (kEdgeFirst | kEdgeQuiet)) != 0 || edge.t_ns < bench.source->start_ns + 5 * kMs) continue;
    if (edge.gap_ns < kPeriod || 4 * edge.read_ns > kPeriod) continue;
    ++wide;
    CHECK((edge.flags & kEdgeLate) != 0);
  }
  CHECK(wide > 0);
}

TEST_CASE("who has asked and waited to be in step has a step of each channel close behind") {
  Bench bench({}, 2);
  const std::int64_t deadline_ns = soon();
  int good = 0;
  while (good < 5 && now_ns() < deadline_ns) {  // a round counts for nothing if the thread was kept from noticing the pause
    ::usleep(30'000);  // quiet again
    const std::int64_t asked_ns = now_ns();
    bench.sampler.ask_until(asked_ns + 20 * kMs);
    bench.sampler.wait_in_step(soon());
    bool all = true;
    for (std::size_t i = 0; i < 2; ++i) {
      const Edge newest = bench.sampler.ring(i)->lease_newest(1).edges()[0];
      all &= newest.t_ns > asked_ns && newest.gap_ns < kPeriod / 2;
    }
    good += all;
  }
  CHECK(good == 5);
}

TEST_CASE("after a stop it has to come in step anew") {
  Bench bench;
  bench.sampler.ask();
  for (int i = 0; i < 5; ++i) {
    bench.sampler.wait_in_step(soon());
    bench.sampler.stop();
    const std::int64_t stopped_ns = now_ns();
    bench.sampler.start();
    bench.sampler.wait_in_step(soon());
    CHECK(bench.sampler.ring(0)->lease_newest(1).edges()[0].t_ns > stopped_ns);
  }
}

TEST_CASE("asked for until an instant it goes quiet after it by itself") {
  Bench bench;
  bench.sampler.ask_until(now_ns() + 30 * kMs);
  bench.sampler.wait_in_step(soon());
  ::usleep(40'000);
  CHECK(bench.reads_within(100) == 0);
}

TEST_CASE("asked for until an instant, an earlier end does not take away from it") {
  Bench bench;
  bench.sampler.ask_until(now_ns() + kHour);
  bench.sampler.ask_until(now_ns() + kMs);
  ::usleep(20'000);
  bench.until([&, before = bench.reads()] { return bench.reads() > before + 10; });  // quiet it is read once in four seconds
}

TEST_CASE("an ask that is given back ends when no other is left") {
  Bench bench;
  bench.sampler.ask();
  bench.sampler.ask();
  bench.sampler.wait_in_step(soon());
  bench.sampler.release();
  CHECK(bench.reads_within(50) > 0);
  bench.sampler.release();
  ::usleep(30'000);
  CHECK(bench.reads_within(100) == 0);
}

TEST_CASE("while something is measured it looks now and then, ever less often, and not after its end") {
  Bench bench;
  bench.sampler.ask_until(now_ns() + 5 * kMs);
  bench.sampler.watch(now_ns());
  ::usleep(300'000);
  const std::uint64_t looks = bench.reads_within(300);  // a sixteenth part of the time apart at the least
  CHECK(looks >= 5);
  CHECK(looks <= 40);
  bench.sampler.unwatch();
  ::usleep(100'000);
  CHECK(bench.reads_within(200) == 0);
}

TEST_CASE("a quiet sampler is woken by a mark, sees the step after it and sleeps again") {
  Bench bench;
  ::usleep(20'000);
  auto mark = std::make_shared<Mark>(now_ns(), 1);
  bench.sampler.add(mark);
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kKnown);
  const Edge newest = bench.sampler.ring(0)->lease_newest(1).edges()[0];
  CHECK(newest.t_ns - static_cast<std::int64_t>(newest.gap_ns) >= mark->t_ns());
  ::usleep(30'000);
  CHECK(bench.reads_within(100) == 0);
}

TEST_CASE("modes change while it runs") {
  Bench bench({.mode = Mode::kPoll, .period_ns = kHour});
  bench.sampler.ask();
  bench.sampler.wait_in_step(soon());
  CHECK(bench.reads_within(20) == 0);
  bench.sampler.set_mode(Mode::kSpin, kMs);
  bench.until([&, before = bench.reads()] { return bench.reads() > before + 1000; });
  bench.sampler.set_mode(Mode::kTrack, kMs);
  bench.until([&] { return bench.sampler.pace_stats(0).caught > 10; });
  bench.sampler.set_mode(Mode::kPoll, kHour);
  ::usleep(20'000);
  CHECK(bench.reads_within(50) == 0);
  bench.sampler.set_mode(Mode::kPoll, kMs);
  bench.until([&, before = bench.reads()] { return bench.reads() > before + 10; });
}

TEST_CASE("under SCHED_FIFO where that is asked for and allowed, else it says what would allow it") {
  try {
    Bench bench({.realtime = true});
    bench.sampler.ask();
    bench.sampler.wait_in_step(soon());
    poll(bench.sampler);
    CHECK(bench.source->policy.load() == SCHED_FIFO);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kPermission);
    CHECK(error.error() == EPERM);
    CHECK(error.remedy().find("CAP_SYS_NICE") != std::string::npos);
  }
  Bench ordinary;
  ordinary.sampler.ask();
  ordinary.sampler.wait_in_step(soon());
  CHECK(ordinary.source->policy.load() == SCHED_OTHER);
}

TEST_CASE("what may not run under SCHED_FIFO does not run at all") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // an ordinary user without a limit that would allow it
    ::alarm(20);
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_RTPRIO, &none) != 0 || (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0)) ::_exit(2);
    const auto threads = [] {
      return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
    };
    Sampler sampler(std::make_unique<Clocked>(1), 0, {.realtime = true});
    std::ptrdiff_t before = 0;
    for (int round = 0; round < 2; ++round) {  // ThreadSanitizer starts a thread of its own beside the first
      before = threads();
      try {
        sampler.start();
        ::_exit(4);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kPermission) ::_exit(3);
      }
    }
    ::_exit(threads() == before ? 0 : 5);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("the rings are kept in memory where that is asked for") {
  const auto locked_kb = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("VmLck:", 0) == 0) return std::stol(line.substr(6));
    }
    return -1L;
  };
  alignas(4096) static char page[4096];
  if (const long none = locked_kb(); ::mlock(page, sizeof page) == 0) {
    const bool shows = locked_kb() > none;
    ::munlock(page, sizeof page);
    if (!shows) {
      MESSAGE("skipped: here mlock does nothing (sanitizers take its place)");
      return;
    }
  }
  const long before = locked_kb();
  try {
    const Bench bench({.capacity = 1 << 10, .lock_memory = true});
    CHECK(locked_kb() >= before + 64);  // 1024 edges of 32 bytes, mapped twice
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kPermission);
    CHECK(error.remedy().find("ulimit -l") != std::string::npos);
  }
  CHECK(locked_kb() == before);
}
