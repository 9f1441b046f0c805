// SPDX-License-Identifier: MIT
#include "core/probe.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "allocations.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

// Two sources: the first with two channels, the second with one.
struct Bench {
  std::shared_ptr<Script> first = std::make_shared<Script>();
  std::shared_ptr<Script> second = std::make_shared<Script>();
  std::unique_ptr<Probe> probe;

  explicit Bench(const SamplerOptions& options = {.mode = Mode::kPoll, .period_ns = kMs / 10}) {
    first->readings.resize(2);
    second->readings.resize(1);
    std::vector<std::unique_ptr<Source>> sources;
    sources.push_back(
        std::make_unique<ScriptedSource>(std::vector{millijoules("package-0"), millijoules("dram-0")}, first));
    sources.push_back(std::make_unique<ScriptedSource>(std::vector{millijoules("package-1")}, second));
    probe = std::make_unique<Probe>(std::move(sources), options);
  }

  // Until each channel has that many edges.
  void until_edges(std::uint64_t count) const {
    const std::int64_t deadline_ns = soon();
    for (std::size_t channel = 0; channel < 3; ++channel) {
      while (probe->channel_stats(channel).edges < count && now_ns() < deadline_ns) std::this_thread::yield();
      REQUIRE(probe->channel_stats(channel).edges >= count);
    }
  }

  // Until that is so for both sources.
  template <typename Condition>
  void until(Condition&& condition) const {
    const std::int64_t deadline_ns = soon();
    for (const auto& script : {first, second}) {
      while (!condition(*script) && now_ns() < deadline_ns) ::usleep(100);
      REQUIRE(now_ns() < deadline_ns);
    }
  }
  void until_reads(std::uint64_t more) const {
    const std::uint64_t wanted = std::max(first->reads_so_far(), second->reads_so_far()) + more;
    until([wanted](Script& script) { return script.reads_so_far() >= wanted; });
  }
  // Until neither is read for so long.
  void until_quiet(unsigned milliseconds) const {
    until([milliseconds](Script& script) {
      const std::uint64_t before = script.reads_so_far();
      ::usleep(milliseconds * 1'000);
      return script.reads_so_far() == before;
    });
  }

  [[nodiscard]] Energy energy(std::size_t channel, std::int64_t start_ns, std::int64_t end_ns) const {
    Energy energy;
    probe->energies(channel, {&start_ns, 1}, {&end_ns, 1}, {{&energy.joules, 1}, {&energy.lower, 1}, {&energy.upper, 1}});
    return energy;
  }

  [[nodiscard]] ErrorKind refusal(std::size_t channel, std::int64_t start_ns, std::int64_t end_ns) const {
    try {
      (void)energy(channel, start_ns, end_ns);
    } catch (const Error& error) {
      const bool names_the_channel = std::string(error.what()).find(probe->channels()[channel].name) == 0;
      CHECK((names_the_channel || error.kind() == ErrorKind::kBadArgument));
      return error.kind();
    }
    FAIL("should have thrown");
    return {};
  }

  [[nodiscard]] std::vector<Edge> edges(std::size_t channel) const {
    const Lease lease = probe->lease_newest(channel, UINT64_MAX);
    return {lease.edges().begin(), lease.edges().end()};
  }
};

}  // namespace

TEST_CASE("channels come in the order of their sources, one sampler for each") {
  const Bench bench;
  REQUIRE(bench.probe->channels().size() == 3);
  CHECK(bench.probe->channels()[0].name == "package-0");
  CHECK(bench.probe->channels()[1].name == "dram-0");
  CHECK(bench.probe->channels()[2].name == "package-1");
  CHECK(bench.probe->sampler_count() == 2);
  CHECK(bench.probe->sampler_of(1) == 0);
  CHECK(bench.probe->sampler_of(2) == 1);
}

TEST_CASE("energy, edges and statistics are those of the channel that was asked for") {
  const Bench bench;
  bench.first->set(0, {.count = 1'000'000});
  bench.probe->start();
  bench.probe->ask();
  bench.first->under_load(1);
  bench.second->under_load(100);
  bench.until_edges(40);
  bench.probe->stop();
  CHECK(bench.edges(0)[1].joules >= 900.0);
  CHECK(bench.edges(1).back().joules < 900.0);
  for (const std::size_t channel : {std::size_t{1}, std::size_t{2}}) {
    const auto edges = bench.edges(channel);
    const std::int64_t start_ns = edges[3].t_ns;
    const std::int64_t end_ns = edges[20].t_ns;
    const Energy energy = bench.energy(channel, start_ns, end_ns);
    CHECK(energy.joules == doctest::Approx(edges[20].joules - edges[3].joules).epsilon(0.05));  // gaps are not of one length
    CHECK(energy.lower <= energy.joules);
    CHECK(energy.joules <= energy.upper);
    CHECK(std::isfinite(energy.upper));
    CHECK(bench.probe->channel_stats(channel).edges == edges.size());
  }
  CHECK(bench.probe->sampler_stats(1).polls == bench.second->reads_so_far());
  CHECK(bench.probe->lease_newest(0, 5).edges().size() == 5);
}

TEST_CASE("a mark is done channel by channel: who needs one that steps soon does not wait for one that never does") {
  const Bench bench;
  bench.probe->start();
  bench.probe->ask();
  bench.first->under_load(1);  // package-0 and dram-0 move, package-1 fails from now on
  bench.second->fail(0, ReadStatus::kRetry, EIO);
  const auto mark = bench.probe->mark(now_ns());
  const std::array<std::size_t, 2> moving{0, 1};
  const std::array<std::size_t, 1> failing{2};
  REQUIRE(mark->wait_until(soon(), moving));
  CHECK(mark->is_done(0));
  CHECK(mark->is_done(1));
  CHECK(mark->slots()[0].state == MarkState::kKnown);
  if (now_ns() - mark->t_ns() < 500 * kMs) {  // it is given up after a second
    CHECK_FALSE(mark->is_done(2));
    CHECK_FALSE(mark->is_done());
    CHECK_FALSE(mark->wait_until(now_ns() + kMs, failing));
  }
  REQUIRE(mark->wait_until(soon(), failing));
  CHECK(mark->is_done());
  CHECK(mark->slots()[2].state == MarkState::kUnsettled);
}

TEST_CASE("asks, their ends and modes reach every sampler") {
  const Bench bench({.mode = Mode::kPoll, .period_ns = kHour});
  bench.probe->start();
  bench.probe->set_mode(Mode::kPoll, kMs / 10);
  bench.probe->ask();
  bench.until_reads(10);
  bench.probe->release();
  bench.until_quiet(20);
  bench.probe->ask_until(now_ns() + kHour);
  bench.until_reads(10);
}

TEST_CASE("watching and its end reach every sampler") {
  const Bench bench;
  bench.probe->watch(now_ns() - 3'200 * kMs);  // looks after a tenth of a second and ever a little more
  bench.probe->start();
  bench.until_reads(10);  // without an ask or a watch: one in four seconds
  bench.probe->unwatch();
  bench.until_quiet(1'000);
}

TEST_CASE("what tracking has come to is told by channel") {
  const Bench bench(SamplerOptions{});
  std::uint64_t count = 0;  // of the reading thread
  bench.first->during_read = [&] { bench.first->count(0, ++count); };
  bench.probe->start();
  bench.probe->ask();
  bench.until([&](Script&) { return bench.probe->pace_stats(0).caught > 0; });
  CHECK(bench.probe->pace_stats(1).caught == 0);
  bench.probe->stop();
}

TEST_CASE("no question at all is no error") {
  const Bench bench;
  bench.probe->energies(0, {}, {}, {});
}

TEST_CASE("an interval that ends before it starts is named") {
  const Bench bench;
  const std::array<std::int64_t, 3> starts{5, 6, 7};
  const std::array<std::int64_t, 3> ends{5, 6, 6};
  std::array<double, 3> joules{}, lower{}, upper{};
  try {
    bench.probe->energies(0, starts, ends, {joules, lower, upper});
    FAIL("should have thrown");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kBadArgument);
    CHECK(std::strstr(error.what(), "interval 2") != nullptr);
  }
  CHECK(bench.refusal(0, 6, 5) == ErrorKind::kBadArgument);
}

TEST_CASE("what lies before the first reading or behind the newest edge is refused, never zero") {
  const Bench bench;
  bench.probe->start();
  bench.first->under_load(1);
  bench.second->under_load(1);
  bench.probe->ask();
  bench.until_edges(10);
  bench.probe->stop();
  const auto edges = bench.edges(0);
  const std::int64_t first_ns = edges.front().t_ns;
  const std::int64_t last_ns = last_answerable_ns(edges);
  CHECK(bench.refusal(0, first_ns - 1, last_ns) == ErrorKind::kOutOfRange);
  CHECK(bench.refusal(0, first_ns, last_ns + 1) == ErrorKind::kOutOfRange);
  CHECK_THROWS_WITH_AS((void)bench.energy(0, first_ns - 2'500'000, last_ns),
                       doctest::Contains("starts 2.500 ms before the first reading"), Error);
  CHECK(bench.refusal(0, now_ns() + kHour, now_ns() + 2 * kHour) == ErrorKind::kOutOfRange);
  CHECK(bench.energy(0, first_ns, last_ns).joules > 0.0);
}

TEST_CASE("what happened far from both ends of an interval is told, by the model of its own channel") {
  ChannelInfo coarse = millijoules("package-0");
  coarse.quantum_joules = 1e6;
  ChannelInfo wrapping = millijoules("package-1");
  wrapping.modulus = 1'000;
  auto script = std::make_shared<Script>();
  script->modulus = 1'000;
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<ScriptedSource>(std::vector{coarse, wrapping}, script));
  Probe probe(std::move(sources), {.mode = Mode::kPoll, .period_ns = kMs / 10});
  script->under_load(50);
  probe.start();
  probe.ask();
  const std::int64_t deadline_ns = soon();
  while (probe.channel_stats(1).edges < 60 && now_ns() < deadline_ns) ::usleep(100);
  probe.stop();
  const Lease lease = probe.lease_newest(1, UINT64_MAX);
  const auto edges = lease.edges();
  REQUIRE(edges.size() >= 60);
  const std::int64_t start_ns = edges[2].t_ns;  // wraps are 20 edges apart
  const std::int64_t end_ns = edges[50].t_ns;
  Energy energy;
  probe.energies(1, {&start_ns, 1}, {&end_ns, 1},
                 {{&energy.joules, 1}, {&energy.lower, 1}, {&energy.upper, 1}, {&energy.flags, 1}});
  CHECK((energy.flags & kEdgeWrapped) != 0);
  CHECK(energy.upper < 1e3);
}

TEST_CASE("one interval among the newest edges has the same answer as many, without an allocation") {
  ChannelInfo wrapping = millijoules("package-0");
  wrapping.modulus = 1'000;
  auto script = std::make_shared<Script>();
  script->modulus = 1'000;
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<ScriptedSource>(std::vector{wrapping}, script));
  Probe probe(std::move(sources), {.mode = Mode::kPoll, .period_ns = kMs / 50});
  script->under_load(7);
  probe.start();
  probe.ask();
  const std::int64_t deadline_ns = soon();
  while (probe.channel_stats(0).edges < 600 && now_ns() < deadline_ns) ::usleep(100);
  probe.stop();
  const std::vector<Edge> edges = [&] {
    const Lease lease = probe.lease_newest(0, UINT64_MAX);
    return std::vector<Edge>(lease.edges().begin(), lease.edges().end());
  }();
  REQUIRE(edges.size() >= 600);
  const std::size_t near = edges.size() - 254;
  bool saw_wrap = false;
  for (std::size_t i = near; i + 1 < edges.size(); ++i) {
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{5}, edges.size()}) {
      const Edge& to = edges[std::min(i + length, edges.size() - 1)];
      const std::int64_t start_ns = std::min(edges[i].t_ns + edges[i].gap_ns / 2, last_answerable_ns(edges));
      const std::int64_t end_ns = std::max(start_ns, std::min(to.t_ns + 1'000, last_answerable_ns(edges)));
      Energy expected;
      probe.energies(0, {&start_ns, 1}, {&end_ns, 1},
                     {{&expected.joules, 1}, {&expected.lower, 1}, {&expected.upper, 1}, {&expected.flags, 1}});
      const std::size_t before = allocations;
      const auto energy = probe.energy_near(0, start_ns, end_ns);
      const std::size_t after = allocations;
      CHECK(after == before);
      REQUIRE(energy.has_value());
      CHECK(energy->joules == expected.joules);
      CHECK(energy->lower == expected.lower);
      CHECK(energy->upper == expected.upper);
      CHECK(energy->flags == expected.flags);
      saw_wrap |= (energy->flags & kEdgeWrapped) != 0;
    }
  }
  CHECK(saw_wrap);
  const std::int64_t last_ns = last_answerable_ns(edges);
  CHECK(!probe.energy_near(0, edges[near].t_ns - 1, last_ns));  // where it stands may depend on edges that were not looked at
  CHECK(!probe.energy_near(0, edges[near].t_ns, last_ns + 1));
  CHECK(!probe.energy_near(0, last_ns, last_ns - 1));
}

TEST_CASE("a single edge answers nothing, even when a value is never old") {
  ChannelInfo channel = millijoules("cpu-0");
  channel.stale_ns = 0;
  auto script = std::make_shared<Script>();
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<ScriptedSource>(std::vector{channel}, script));
  const Probe probe(std::move(sources), {});
  const std::int64_t t_ns = probe.lease_newest(0, 1).edges()[0].t_ns;
  Energy energy;
  CHECK_THROWS_AS(
      probe.energies(0, {&t_ns, 1}, {&t_ns, 1}, {{&energy.joules, 1}, {&energy.lower, 1}, {&energy.upper, 1}}), Error);
}

TEST_CASE("what the ring no longer holds is an overrun") {
  const Bench bench({.mode = Mode::kPoll, .period_ns = kMs / 50, .capacity = 1});
  const std::int64_t first_ns = bench.edges(0).front().t_ns;
  bench.first->under_load(1);
  bench.second->under_load(1);
  bench.probe->start();
  bench.probe->ask();
  bench.until_edges(300);
  bench.probe->stop();
  const auto edges = bench.edges(0);
  CHECK(bench.refusal(0, first_ns, edges[20].t_ns) == ErrorKind::kOverrun);
  CHECK(bench.energy(0, edges[0].t_ns, edges[20].t_ns).joules > 0.0);
}

TEST_CASE("past the end of a channel that went away is an error of its own, before it is an answer") {
  const Bench bench;
  bench.first->under_load(1);
  bench.second->under_load(1);
  bench.probe->start();
  bench.probe->ask();
  bench.until_edges(20);
  bench.first->fail(0, ReadStatus::kGone, ENODEV);
  while (bench.probe->channel_stats(0).ended_ns == INT64_MAX) std::this_thread::yield();
  bench.probe->stop();
  const auto edges = bench.edges(0);
  CHECK(bench.refusal(0, edges[2].t_ns, now_ns()) == ErrorKind::kGone);
  CHECK(bench.energy(0, edges[2].t_ns, edges[10].t_ns).joules > 0.0);
}

TEST_CASE("a channel that was never read is out of range") {
  auto script = std::make_shared<Script>();
  script->readings.resize(2);
  script->fail(1, ReadStatus::kRetry, EIO);
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(
      std::make_unique<ScriptedSource>(std::vector{millijoules("package-0"), millijoules("dram-0")}, script));
  const Probe probe(std::move(sources), {});
  const std::int64_t t_ns = now_ns();
  Energy energy;
  try {
    probe.energies(1, {&t_ns, 1}, {&t_ns, 1}, {{&energy.joules, 1}, {&energy.lower, 1}, {&energy.upper, 1}});
    FAIL("should have thrown");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kOutOfRange);
  }
  CHECK(probe.channel_stats(0).retries == 0);
  CHECK(probe.channel_stats(1).retries == 1);
}

TEST_CASE("a mark has one slot per channel, of all samplers") {
  const Bench bench;
  bench.first->under_load(1);
  bench.second->under_load(2);
  bench.probe->start();
  const auto begin = bench.probe->mark(now_ns());
  REQUIRE(begin->wait_until(soon()));
  const auto end = bench.probe->mark(now_ns());
  REQUIRE(end->wait_until(soon()));
  REQUIRE(end->slots().size() == 3);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    CAPTURE(channel);
    REQUIRE(begin->slots()[channel].state == MarkState::kKnown);
    REQUIRE(end->slots()[channel].state == MarkState::kKnown);
    const Energy energy = energy_between(begin->slots()[channel].point, end->slots()[channel].point,
                                         EnergyModel::of(bench.probe->channels()[channel]));
    CHECK(energy.joules >= 0.0);
    CHECK(energy.upper > 0.0);
  }
}

TEST_CASE("waiting to be in step waits until each quiet sampler has read once more") {
  const Bench bench({.mode = Mode::kPoll, .period_ns = kHour});
  bench.probe->start();
  const std::uint64_t first = bench.first->reads_so_far();
  const std::uint64_t second = bench.second->reads_so_far();
  bench.probe->ask();
  bench.probe->wait_in_step(soon());
  CHECK(bench.first->reads_so_far() == first + 1);
  CHECK(bench.second->reads_so_far() == second + 1);
  const std::int64_t deadline_ns = soon();
  bench.probe->ask();
  bench.probe->wait_in_step(deadline_ns);  // not quiet any more: does not wait for the next tick, an hour away
  CHECK(now_ns() < deadline_ns);
  bench.probe->release();
  bench.probe->release();
}

TEST_CASE("a probe that does not run gives no marks and says what to do; what it has it still tells") {
  const Bench bench;
  CHECK_FALSE(bench.probe->is_running());
  const auto refusal = [&] {
    try {
      (void)bench.probe->mark(now_ns());
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kUnavailable);
      return error.remedy();
    }
    return std::string();
  };
  CHECK_FALSE(refusal().empty());
  bench.first->under_load(1);
  bench.second->under_load(1);
  bench.probe->start();
  bench.probe->start();
  CHECK(bench.probe->is_running());
  bench.probe->ask();
  bench.until_edges(10);
  const auto mark = bench.probe->mark(now_ns() + kHour);
  bench.probe->stop();
  bench.probe->stop();
  CHECK_FALSE(bench.probe->is_running());
  CHECK(mark->is_done());
  CHECK_FALSE(refusal().empty());
  const auto edges = bench.edges(2);
  CHECK(bench.energy(2, edges[1].t_ns, edges[5].t_ns).joules > 0.0);
}

TEST_CASE("a lease outlives its probe") {
  auto bench = std::make_unique<Bench>();
  const Lease lease = bench->probe->lease_newest(0, 5);
  bench.reset();
  CHECK(lease.edges().size() == 1);
  CHECK(lease.edges()[0].flags == kEdgeFirst);
}

TEST_CASE("one source that cannot be read at first fails the probe with its reason") {
  auto script = std::make_shared<Script>();
  script->readings.resize(1);
  script->fail(0, ReadStatus::kFatal, EACCES);
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<ScriptedSource>(std::vector{millijoules("package-0")}, script));
  CHECK_THROWS_AS(Probe(std::move(sources), {}), Error);
}

TEST_CASE("in a fork's child the probe does not run, says so, and its edges can still be asked") {
  Bench bench;
  bench.first->under_load(1);
  bench.second->under_load(1);
  bench.probe->start();
  bench.probe->ask();
  bench.until_edges(10);
  bench.probe->stop();
  bench.probe->start();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGALRM, SIG_DFL);
    ::alarm(10);
    int wrong = bench.probe->is_running() ? 1 : 0;
    for (const bool start : {false, true}) {
      try {
        start ? bench.probe->start() : static_cast<void>(bench.probe->mark(now_ns()));
        wrong |= 2;
      } catch (const Error& error) {
        wrong |= error.kind() == ErrorKind::kUnavailable ? 0 : 4;
      }
    }
    const auto edges = bench.edges(0);
    wrong |= bench.energy(0, edges[1].t_ns, edges[5].t_ns).joules > 0.0 ? 0 : 8;
    bench.probe.reset();
    ::_exit(wrong);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(bench.probe->is_running());
}

namespace {

// A counter that steps when the test says so, with a guide of the same source that steps in between.
struct Guided {
  std::shared_ptr<Script> script = std::make_shared<Script>();
  std::unique_ptr<Probe> probe;

  explicit Guided(std::int64_t guide_period_ns, int guide = 1) {
    ChannelInfo counter = millijoules("gpu-0");
    counter.guide = guide;
    counter.stale_ns = 1'000 * kMs;  // no quiet edges
    ChannelInfo power = millijoules("gpu-0-power");
    power.update_period_ns = guide_period_ns;
    power.stale_ns = 1'000 * kMs;
    script->readings.resize(2);
    std::vector<std::unique_ptr<Source>> sources;
    sources.push_back(std::make_unique<ScriptedSource>(std::vector{counter, power}, script));
    probe = std::make_unique<Probe>(std::move(sources), SamplerOptions{.mode = Mode::kPoll, .period_ns = kMs / 10});
  }
  // A step that says itself that it came now; returns when.
  std::int64_t step(std::size_t channel, std::uint64_t count) const {
    const std::uint64_t before = probe->channel_stats(channel).edges;
    const std::int64_t at_ns = now_ns();
    script->set(channel, {.count = count, .at_ns = at_ns});
    const std::int64_t deadline_ns = soon();
    while (probe->channel_stats(channel).edges == before && now_ns() < deadline_ns) ::usleep(50);
    REQUIRE(probe->channel_stats(channel).edges == before + 1);
    return at_ns;
  }
  [[nodiscard]] Energy energy(std::int64_t start_ns, std::int64_t end_ns, bool unsettled = false) const {
    Energy energy;
    probe->energies(0, {&start_ns, 1}, {&end_ns, 1}, {{&energy.joules, 1}, {&energy.lower, 1}, {&energy.upper, 1}}, unsettled);
    return energy;
  }
};

}  // namespace

TEST_CASE("a channel with a guide can be answered up to where that has told, with its shape, and so are marks") {
  const Guided bench(kHour / 10);  // waited for as long as may be
  CHECK(bench.probe->known_until_ns(0) < now_ns());
  bench.probe->start();
  bench.probe->ask();
  const std::int64_t start_ns = bench.step(0, 10);
  const std::int64_t idle_ns = bench.step(1, 10);
  const std::int64_t middle_ns = (idle_ns + bench.step(1, 20)) / 2;
  const auto mark = bench.probe->mark(middle_ns);
  const auto begin = bench.probe->mark(start_ns);
  const std::int64_t burst_ns = bench.step(1, 10'020);
  const std::int64_t end_ns = bench.step(0, 20);
  const bool is_known = bench.probe->known_until_ns(0) >= end_ns || mark->is_done();
  bool is_refused = false;
  try {
    (void)bench.energy(start_ns, middle_ns);
  } catch (const Error& error) {
    is_refused = error.kind() == ErrorKind::kOutOfRange;
  }
  CHECK(bench.energy(start_ns, middle_ns, true).joules > 0.0);  // who does not want to wait need not
  CHECK(bench.probe->energy_until(0, *begin, middle_ns).joules > 0.0);
  bench.step(1, 10'030);
  if (now_ns() - end_ns >= kGuidePatienceNs) return;  // held up for so long that the guide was not waited for
  CHECK_FALSE(is_known);
  CHECK(is_refused);
  CHECK(bench.probe->known_until_ns(0) == end_ns);
  REQUIRE(mark->wait_until(soon()));
  REQUIRE(begin->wait_until(soon()));
  const Energy before = bench.energy(start_ns, middle_ns);
  const Energy after = bench.energy(burst_ns, end_ns);
  CHECK(before.joules < 10e-3 * 0.01);
  CHECK(after.joules < 10e-3 * 0.01);
  const EnergyModel model = EnergyModel::of(bench.probe->channels()[0]);
  CHECK(energy_between(begin->slots()[0].point, mark->slots()[0].point, model).joules == doctest::Approx(before.joules));
  CHECK(bench.probe->energy_until(0, *begin, middle_ns).joules == doctest::Approx(before.joules));
  CHECK(bench.energy(start_ns, end_ns).joules == doctest::Approx(10e-3));
  CHECK(bench.probe->known_until_ns(1) >= end_ns);
}

TEST_CASE("a guide that stops keeps back neither marks nor answers, nor does it when the probe is stopped") {
  {
    const Guided bench(kMs);
    bench.probe->start();
    bench.probe->ask();
    const std::int64_t start_ns = bench.step(0, 10);
    ::usleep(2'000);
    const auto mark = bench.probe->mark(now_ns());
    const std::int64_t end_ns = bench.step(0, 20);
    REQUIRE(mark->wait_until(soon()));
    CHECK(mark->slots()[0].state == MarkState::kKnown);
    CHECK(bench.probe->known_until_ns(0) == end_ns);
    const double share = static_cast<double>(mark->t_ns() - start_ns) / static_cast<double>(end_ns - start_ns);
    CHECK(bench.energy(start_ns, mark->t_ns()).joules == doctest::Approx(10e-3 * share));
  }
  const Guided bench(kHour / 10);
  bench.probe->start();
  bench.probe->ask();
  const std::int64_t start_ns = bench.step(0, 10);
  const std::int64_t end_ns = bench.step(0, 20);
  bench.probe->stop();
  CHECK(bench.probe->known_until_ns(0) == end_ns);
  CHECK(bench.energy(start_ns, end_ns).joules == doctest::Approx(10e-3));
}

TEST_CASE("without a guide a channel is known up to the far end of its newest gap") {
  const Bench bench;
  CHECK(bench.probe->known_until_ns(0) < bench.edges(0)[0].t_ns);
  bench.first->under_load(1);
  bench.second->under_load(1);
  bench.probe->start();
  bench.probe->ask();
  bench.until_edges(10);
  bench.probe->stop();
  CHECK(bench.probe->known_until_ns(0) == last_answerable_ns(bench.edges(0)));
}

TEST_CASE("a guide is another channel of the same source") {
  for (const int guide : {0, 2}) CHECK_THROWS_WITH_AS(Guided(kMs, guide), doctest::Contains("guide of gpu-0"), Error);
}
