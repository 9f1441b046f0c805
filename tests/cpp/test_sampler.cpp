// SPDX-License-Identifier: MIT
#include "core/sampler.hpp"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

std::ptrdiff_t threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

struct Bench {
  std::shared_ptr<Script> script = std::make_shared<Script>();
  std::unique_ptr<Sampler> sampler;

  explicit Bench(std::vector<ChannelInfo> channels, const SamplerOptions& options = {}) {
    script->readings.resize(channels.size());
    sampler = std::make_unique<Sampler>(std::make_unique<ScriptedSource>(std::move(channels), script), 0, options);
  }

  // Returns when a poll that began after this call is over, or the first one since somebody asks.
  void poll() const { powerprobe::test::poll(*sampler); }
  void first_poll() const {
    const std::int64_t deadline_ns = soon();
    sampler->wait_in_step(deadline_ns);
    REQUIRE(now_ns() < deadline_ns);
  }

  [[nodiscard]] std::shared_ptr<Mark> mark(std::int64_t t_ns, std::size_t channels = 1) const {
    auto mark = std::make_shared<Mark>(t_ns, channels);
    sampler->add(mark);
    return mark;
  }

  [[nodiscard]] Lease edges(std::size_t channel = 0) const { return sampler->ring(channel)->lease(); }
  [[nodiscard]] Edge newest(std::size_t channel = 0) const {
    const Lease lease = sampler->ring(channel)->lease_newest(1);
    REQUIRE(lease.edges().size() == 1);
    return lease.edges().front();
  }
};

const ChannelInfo kPackage = millijoules("package-0");

}  // namespace

TEST_CASE("the first reading is taken before any thread exists, by the caller") {
  const auto before = threads();
  std::thread::id reader;
  auto script = std::make_shared<Script>();
  script->during_read = [&] { reader = std::this_thread::get_id(); };
  script->readings = {{.count = 700}};
  const std::vector channels{kPackage};
  const Sampler sampler(std::make_unique<ScriptedSource>(channels, script), 0, {});
  CHECK(threads() == before);
  CHECK(reader == std::this_thread::get_id());
  const Lease lease = sampler.ring(0)->lease();
  REQUIRE(lease.edges().size() == 1);
  CHECK(lease.edges()[0].flags == kEdgeFirst);
  CHECK(lease.edges()[0].joules == 0.0);
  CHECK(lease.edges()[0].gap_ns == kMs + lease.edges()[0].read_ns);
}

TEST_CASE("when no channel can be read at first the caller gets the reason") {
  auto script = std::make_shared<Script>();
  script->readings.resize(2);
  script->fail(0, ReadStatus::kRetry, EIO);
  script->fail(1, ReadStatus::kFatal, EACCES);
  try {
    const Sampler sampler(
        std::make_unique<ScriptedSource>(std::vector{kPackage, millijoules("dram-0")}, script), 0, {});
    FAIL("should have thrown");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUnavailable);
    CHECK(error.error() == EIO);
    CHECK(error.path() == "/a/script");
    CHECK(std::strstr(error.what(), "scripted") != nullptr);
    CHECK(std::strstr(error.what(), std::strerror(EIO)) != nullptr);
  }
}

TEST_CASE("one channel that can be read is enough") {
  auto script = std::make_shared<Script>();
  script->readings.resize(2);
  script->fail(0, ReadStatus::kGone, ENODEV);
  const Sampler sampler(std::make_unique<ScriptedSource>(std::vector{kPackage, millijoules("dram-0")}, script), 0, {});
  CHECK(sampler.ring(0)->head() == 0);
  CHECK(sampler.ring(1)->head() == 1);
  CHECK(sampler.channel_stats(0).health == ReadStatus::kGone);
}

TEST_CASE("start makes one thread, stop ends it, and both may be called again") {
  std::thread([] {}).join();  // ThreadSanitizer starts a thread of its own beside the first
  const auto before = threads();
  const Bench bench({kPackage});
  bench.sampler->start();
  bench.sampler->start();
  bench.sampler->ask();
  bench.poll();
  CHECK(threads() == before + 1);
  bench.sampler->stop();
  CHECK(threads() == before);
  bench.sampler->stop();
}

TEST_CASE("a sampler that was never started stops") { Bench({kPackage}).sampler->stop(); }

// Without being woken the sampler would come back after an hour: the test then ends by its time-out.
TEST_CASE("stop is immediate while the sampler sleeps, from many threads at once") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kHour});
  bench.sampler->start();
  bench.sampler->ask();
  bench.first_poll();
  std::vector<std::thread> stoppers;
  for (int i = 0; i < 4; ++i) stoppers.emplace_back([&] { bench.sampler->stop(); });
  for (auto& stopper : stoppers) stopper.join();
}

TEST_CASE("a stopped sampler can be started again, and its CPU time goes on from where it was") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->ask();
  bench.sampler->start();
  bench.poll();
  bench.sampler->stop();
  const std::int64_t first_ns = bench.sampler->stats().cpu_ns;
  CHECK(first_ns > 0);
  bench.script->count(0, 9);
  bench.sampler->start();
  bench.poll();
  bench.poll();
  CHECK(bench.newest().joules == doctest::Approx(9e-3));
  CHECK(bench.sampler->stats().cpu_ns > first_ns);
  bench.sampler->stop();
  CHECK(bench.sampler->stats().cpu_ns > first_ns);
}

TEST_CASE("asking wakes a quiet sampler, once") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kHour});
  bench.sampler->start();
  ::usleep(50'000);  // asleep
  const std::uint64_t reads = bench.script->reads_so_far();
  bench.sampler->ask();
  const std::int64_t deadline_ns = now_ns() + 3'000 * kMs;  // in four seconds it comes by itself
  bench.sampler->wait_in_step(deadline_ns);
  CHECK(now_ns() < deadline_ns);
  CHECK(bench.script->reads_so_far() == reads + 1);
  bench.sampler->ask();
  bench.first_poll();  // in step already: returns at once, an hour before the next tick
  CHECK(bench.script->reads_so_far() == reads + 1);
  bench.sampler->release();
  bench.sampler->release();
}

TEST_CASE("while asked for it polls at its rate") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  bench.sampler->ask();
  const std::int64_t begin_ns = now_ns();
  for (int i = 0; i < 50; ++i) bench.poll();
  const SamplerStats stats = bench.sampler->stats();
  CHECK(stats.polls >= 50);
  // Never faster than its deadlines: a tick each period, and one at the begin; the first reading came before.
  CHECK(stats.polls + stats.missed_ticks <= static_cast<std::uint64_t>((now_ns() - begin_ns) / (kMs / 10)) + 3);
}

// Takes as long as the keep-alive. It is the only thing that saves a counter from wrapping unseen while nobody asks.
TEST_CASE("when nobody asks it reads just often enough to keep alive") {
  const Bench bench({kPackage});
  const std::int64_t begin_ns = now_ns();
  bench.sampler->start();
  while (bench.script->reads_so_far() < 2 && now_ns() - begin_ns < 20'000 * kMs) ::usleep(1000);
  CHECK(bench.script->reads_so_far() == 2);
  CHECK(now_ns() - begin_ns > 1'000 * kMs);
}

TEST_CASE("between its polls, and when nobody asks, it sleeps") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = 20 * kMs});
  bench.sampler->start();
  const auto used_ns = [&] {
    bench.poll();
    const std::int64_t before_ns = bench.sampler->stats().cpu_ns;
    ::usleep(100'000);
    return bench.sampler->stats().cpu_ns - before_ns;
  };
  bench.sampler->ask();
  CHECK(used_ns() < 20 * kMs);
  bench.sampler->release();
  const std::int64_t before_ns = bench.sampler->stats().cpu_ns;
  ::usleep(100'000);
  CHECK(bench.sampler->stats().cpu_ns - before_ns < 20 * kMs);
}

TEST_CASE("at a fixed rate a mark does not make it look earlier") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kHour});
  bench.sampler->start();
  bench.sampler->ask();
  bench.first_poll();
  const std::uint64_t before = bench.script->reads_so_far();
  const auto mark = bench.mark(now_ns());
  ::usleep(20'000);
  CHECK(bench.script->reads_so_far() == before);
  CHECK_FALSE(mark->is_done());
}

TEST_CASE("a mark that comes before the start waits for it") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  const auto mark = bench.mark(now_ns());
  CHECK_FALSE(mark->is_done());
  bench.sampler->start();
  bench.sampler->ask();
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kKnown);
}

TEST_CASE("steps become edges, rest does not until it is news") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 20});
  bench.sampler->start();
  bench.script->count(0, 5);
  bench.sampler->ask();
  bench.poll();
  const Edge step = bench.edges().edges()[1];
  CHECK(step.joules == doctest::Approx(5e-3));
  CHECK((step.flags & ~kEdgeLate) == 0);
  CHECK(step.gap_ns <= kMs + step.read_ns);
  while (bench.sampler->ring(0)->head() < 6) bench.poll();
  const Lease lease = bench.edges();
  for (std::size_t i = 2; i < lease.edges().size(); ++i) {
    const Edge& quiet = lease.edges()[i];
    CHECK((quiet.flags & kEdgeQuiet) != 0);
    CHECK(quiet.joules == step.joules);
    CHECK(quiet.gap_ns == kMs + quiet.read_ns);
    CHECK(quiet.t_ns - lease.edges()[i - 1].t_ns >= 2 * kMs);
  }
}

TEST_CASE("a step is located between two readings, and never earlier than a value can be old") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  bench.script->under_load(3);
  bench.sampler->ask();
  for (int i = 0; i < 20; ++i) bench.poll();
  bench.sampler->stop();
  const Lease lease = bench.edges();
  const auto edges = lease.edges();
  REQUIRE(edges.size() > 10);
  for (std::size_t i = 2; i < edges.size(); ++i) {
    CHECK(edges[i].joules == doctest::Approx(static_cast<double>(i) * 3e-3));
    CHECK(edges[i].gap_ns <= kMs + edges[i].read_ns);
    // The old value was last seen at the begin of the reading before, read_ns before its end.
    CHECK(edges[i].gap_ns <= edges[i].t_ns - edges[i - 1].t_ns + edges[i - 1].read_ns);
    CHECK(edges[i].t_ns > edges[i - 1].t_ns);
  }
}

TEST_CASE("a reading that takes long may show what was there when it began") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.script->during_read = [] { std::this_thread::sleep_for(std::chrono::milliseconds(10)); };
  bench.script->under_load(10);
  bench.sampler->start();
  bench.sampler->ask();
  for (int i = 0; i < 3; ++i) bench.poll();
  bench.sampler->stop();
  const Lease lease = bench.edges();
  REQUIRE(lease.edges().size() >= 3);
  for (const Edge& edge : lease.edges().subspan(1)) {
    CHECK(edge.gap_ns > edge.read_ns);
    CHECK(edge.gap_ns <= edge.read_ns + kMs);
  }
}

namespace {

// Moves at each reading, says when it was read on a clock of its own, and comes back late from each tenth.
class HeldUp : public Source {
 public:
  explicit HeldUp(bool before) : before_(before) { channels_.push_back(kPackage); }
  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override {
    const bool is_held_up = ++reads % 10 == 0;
    if (is_held_up && before_) ::usleep(3'000);
    out[0] = {.count = reads, .clock_ns = static_cast<std::uint64_t>(now_ns() - kEpoch)};
    if (is_held_up && !before_) ::usleep(3'000);
  }
  static constexpr std::int64_t kEpoch = 1'000'000'000;
  std::uint64_t reads = 0;

 private:
  bool before_;
  std::vector<ChannelInfo> channels_;
};

}  // namespace

TEST_CASE("a thread that is held up before or after the reading does not blur when the counter was read") {
  bool before = false;
  SUBCASE("before") { before = true; }
  SUBCASE("after") {}
  Sampler sampler(std::make_unique<HeldUp>(before), 0, {.mode = Mode::kPoll, .period_ns = kMs / 5});
  sampler.start();
  sampler.ask();
  while (sampler.stats().polls < 200) ::usleep(1000);
  sampler.stop();
  const Lease lease = sampler.ring(0)->lease();
  std::size_t slow = 0;
  std::size_t blurred = 0;
  for (const Edge& edge : lease.edges()) {
    const bool is_slow = std::lround(edge.joules * 1e3) % 10 == 9;  // the total begins at the first reading
    slow += is_slow;
    blurred += is_slow && (before ? edge.read_ns : edge.gap_ns) > 3 * kMs;
  }
  CHECK(slow >= 10);
  CHECK(blurred <= slow / 2);  // all of them, if the way there or back counted
}

TEST_CASE("wraps and resets are counted, flagged and kept apart") {
  ChannelInfo channel = kPackage;
  channel.modulus = 40'000;  // 40 J, and 30 W for a second and some: never so late that a second wrap may hide in a reading
  channel.max_watts = 30.0;
  channel.stale_ns = 1'000 * kMs;
  const Bench bench({channel, kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  bench.sampler->ask();
  for (const std::uint64_t count : {20'000u, 5'000u, 25'000u}) {
    bench.script->count(0, count);
    bench.script->count(1, count);
    bench.poll();
  }
  bench.sampler->stop();
  CHECK(bench.newest(0).joules == doctest::Approx(65.0));
  CHECK(bench.newest(0).segment == 0);
  CHECK(bench.sampler->channel_stats(0).wraps == 1);
  CHECK(bench.sampler->channel_stats(0).resets == 0);
  CHECK(bench.newest(1).joules == doctest::Approx(40.0));
  CHECK(bench.newest(1).segment == 1);
  CHECK(bench.sampler->channel_stats(1).wraps == 0);
  CHECK(bench.sampler->channel_stats(1).resets == 1);
  std::uint32_t wrapped = 0, reset = 0;
  const Lease first = bench.edges(0);
  for (const Edge& edge : first.edges()) wrapped += (edge.flags & kEdgeWrapped) != 0;
  const Lease second = bench.edges(1);
  for (const Edge& edge : second.edges()) reset += (edge.flags & kEdgeReset) != 0;
  CHECK(wrapped == 1);
  CHECK(reset == 1);
}

TEST_CASE("a reading so late that a wrap may hide in it says so") {
  ChannelInfo channel = kPackage;
  channel.modulus = 100;  // 0.1 J: at 1 MW they last 100 ns, less than any two readings are apart
  channel.max_watts = 1e6;
  const Bench bench({channel}, {.mode = Mode::kPoll, .period_ns = kMs});
  bench.sampler->start();
  bench.script->count(0, 60);
  bench.sampler->ask();
  bench.poll();
  const Edge edge = bench.edges().edges()[1];
  CHECK((edge.flags & kEdgeAmbiguous) != 0);
  CHECK(edge.segment > 0);  // nothing bounds from above what was used meanwhile
}

TEST_CASE("a reading that fails is tried again, and the next edge says so") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  bench.script->fail(0, ReadStatus::kRetry, EAGAIN);
  bench.sampler->ask();
  bench.poll();
  CHECK(bench.sampler->channel_stats(0).retries > 0);
  CHECK(bench.sampler->channel_stats(0).health == ReadStatus::kRetry);
  CHECK(bench.sampler->channel_stats(0).error == EAGAIN);
  CHECK(bench.sampler->ring(0)->head() == 1);
  bench.script->count(0, 40);
  bench.poll();
  bench.sampler->stop();
  CHECK(bench.sampler->channel_stats(0).health == ReadStatus::kOk);
  const Edge after = bench.edges().edges()[1];
  CHECK((after.flags & kEdgeAfterRetry) != 0);
  CHECK(after.joules == doctest::Approx(40e-3));
  CHECK(bench.sampler->channel_stats(0).ended_ns == INT64_MAX);
}

TEST_CASE("a channel that goes away ends; what it counted stays, the others go on") {
  for (const ReadStatus status : {ReadStatus::kGone, ReadStatus::kFatal}) {
    CAPTURE(static_cast<int>(status));
    const Bench bench({kPackage, millijoules("package-1")}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
    bench.sampler->start();
    bench.script->under_load(1);
    bench.sampler->ask();
    for (int i = 0; i < 30; ++i) bench.poll();
    bench.script->fail(0, status, ENODEV);
    bench.poll();
    const auto past = bench.mark(now_ns(), 2);
    const auto inside = bench.mark(bench.edges(0).edges()[2].t_ns, 2);
    const std::uint64_t head = bench.sampler->ring(0)->head();
    REQUIRE(past->wait_until(soon()));
    REQUIRE(inside->wait_until(soon()));
    CHECK(past->slots()[0].state == MarkState::kGone);
    CHECK(past->slots()[1].state == MarkState::kKnown);
    CHECK(inside->slots()[0].state == MarkState::kKnown);
    // It does not come back.
    bench.script->count(0, 100'000);
    bench.poll();
    CHECK(bench.sampler->ring(0)->head() == head);
    const ChannelStats stats = bench.sampler->channel_stats(0);
    CHECK(stats.health == status);
    CHECK(stats.error == ENODEV);
    CHECK(stats.ended_ns > bench.newest(0).t_ns);
    CHECK(stats.ended_ns <= now_ns());
    CHECK(bench.sampler->channel_stats(1).health == ReadStatus::kOk);
  }
}

TEST_CASE("a mark wakes a quiet sampler and is filled in as soon as the edge after it is in") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.script->under_load(7);
  bench.sampler->start();
  ::usleep(50'000);  // asleep
  const auto mark = bench.mark(now_ns());
  REQUIRE(mark->wait_until(now_ns() + 3'000 * kMs));  // in four seconds it reads by itself
  REQUIRE(mark->is_done());
  const Mark::Slot& slot = mark->slots()[0];
  REQUIRE(slot.state == MarkState::kKnown);
  CHECK(slot.point.t_ns == mark->t_ns());
  CHECK(slot.point.lower <= slot.point.joules);
  CHECK(slot.point.joules <= slot.point.upper);
  CHECK(slot.point.upper < 1.0);
}

TEST_CASE("a mark settles on a counter that rests") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  const auto mark = bench.mark(now_ns());
  REQUIRE(mark->wait_until(soon()));
  REQUIRE(mark->slots()[0].state == MarkState::kKnown);
  CHECK(mark->slots()[0].point.upper == doctest::Approx(1e-3));
  CHECK((bench.newest().flags & kEdgeQuiet) != 0);
}

TEST_CASE("many marks from many threads all settle, while the sampler goes to sleep and wakes") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 20});
  bench.script->under_load(1);
  bench.sampler->start();
  std::atomic<int> known{0};
  std::vector<std::thread> makers;
  for (int thread = 0; thread < 3; ++thread) {
    makers.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        if (i % 3 == 0) bench.sampler->ask();
        const auto mark = bench.mark(now_ns());
        if (i % 3 == 0) bench.sampler->release();
        if (mark->wait_until(soon()) && mark->slots()[0].state == MarkState::kKnown) known.fetch_add(1);
      }
    });
  }
  for (auto& maker : makers) maker.join();
  CHECK(known.load() == 300);
}

TEST_CASE("what a mark knows of one channel stays while it waits for another, also when the ring has gone on") {
  const Bench bench({kPackage, millijoules("dram-0")}, {.mode = Mode::kPoll, .period_ns = kMs / 50, .capacity = 1});
  bench.script->under_load(1);
  bench.sampler->start();
  bench.script->fail(1, ReadStatus::kRetry, EIO);
  const auto mark = bench.mark(now_ns(), 2);
  const Ring& ring = *bench.sampler->ring(0);
  const std::uint64_t wanted = ring.head() + 2 * ring.capacity();
  const std::int64_t deadline_ns = soon();
  while (ring.head() < wanted && !mark->is_done() && now_ns() < deadline_ns) bench.poll();
  bench.script->count(1, 1'000);
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kKnown);
}

TEST_CASE("a mark before the first reading is outside") {
  const Bench bench({kPackage});
  bench.sampler->start();
  const auto mark = bench.mark(bench.edges().edges()[0].t_ns - 1);
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kOutside);
}

TEST_CASE("a mark on a counter that cannot be read any more is given up") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs});
  bench.sampler->start();
  bench.script->fail(0, ReadStatus::kRetry, EIO);
  const auto mark = bench.mark(now_ns());
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kUnsettled);
}

TEST_CASE("waiting for a mark ends at its deadline") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kHour});
  bench.sampler->start();
  const auto mark = bench.mark(now_ns() + kHour);
  CHECK_FALSE(mark->wait_until(now_ns() + kMs));
  CHECK_FALSE(mark->is_done());
}

TEST_CASE("waiting to be in step ends at its deadline") {
  const Bench bench({kPackage});
  const std::int64_t deadline_ns = now_ns() + kMs;
  bench.sampler->wait_in_step(deadline_ns);  // not started: it never will be
  CHECK(now_ns() >= deadline_ns);
}

TEST_CASE("stop settles what is pending, and marks that come later are not left waiting") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kHour});
  bench.sampler->start();
  const auto pending = bench.mark(now_ns() + kHour);
  bench.sampler->stop();
  CHECK(pending->is_done());
  CHECK(pending->slots()[0].state == MarkState::kUnsettled);
  const auto later = bench.mark(now_ns() + kHour);
  CHECK(later->is_done());
  CHECK(later->slots()[0].state == MarkState::kUnsettled);
}

TEST_CASE("marks that race with stop are all done when it is over") {
  for (int round = 0; round < 50; ++round) {
    const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kHour});
    bench.sampler->start();
    std::vector<std::shared_ptr<Mark>> marks;
    std::atomic<bool> stopping{false};
    std::thread maker([&] {
      while (!stopping.load()) marks.push_back(bench.mark(now_ns() + kHour));
      for (int i = 0; i < 100; ++i) marks.push_back(bench.mark(now_ns() + kHour));
    });
    stopping.store(true);
    bench.sampler->stop();
    maker.join();
    REQUIRE(marks.size() >= 100);
    for (const auto& mark : marks) REQUIRE(mark->is_done());
  }
}

TEST_CASE("an edge that is dropped because of a lease costs no energy, and the next edge says what happened") {
  ChannelInfo channel = kPackage;
  channel.modulus = 1000;
  channel.max_watts = 1e6;
  const Bench bench({channel}, {.mode = Mode::kPoll, .period_ns = kMs / 50, .capacity = 1});
  bench.script->modulus = 1000;
  bench.script->under_load(1);
  bench.sampler->start();
  bench.sampler->ask();
  const std::uint64_t capacity = bench.sampler->ring(0)->capacity();
  while (bench.sampler->ring(0)->head() < capacity) bench.poll();
  std::optional<Lease> lease(bench.edges());
  const std::uint64_t wraps = bench.sampler->channel_stats(0).wraps;
  while (bench.sampler->channel_stats(0).wraps == wraps) bench.poll();  // while the ring is pinned from end to end
  CHECK(bench.sampler->channel_stats(0).dropped > 0);
  const std::uint64_t held = bench.sampler->ring(0)->head();
  lease.reset();
  bench.poll();
  bench.sampler->stop();

  const ChannelStats stats = bench.sampler->channel_stats(0);
  const std::uint64_t reads = bench.script->reads_so_far();
  CHECK(stats.edges + stats.dropped == reads);
  CHECK(bench.newest().joules == doctest::Approx(static_cast<double>(reads - 1) * 1e-3));
  const Lease rest = bench.sampler->ring(0)->lease(held);
  REQUIRE_FALSE(rest.edges().empty());
  CHECK((rest.edges()[0].flags & kEdgeWrapped) != 0);
  CHECK((rest.edges()[0].flags & kEdgeDropped) != 0);
  if (rest.edges().size() > 1) CHECK((rest.edges()[1].flags & kEdgeDropped) == 0);
}

TEST_CASE("a source that has no news at first can be read") {
  auto script = std::make_shared<Script>();
  script->readings.resize(1);
  script->fail(0, ReadStatus::kNoNews, 0);
  const Sampler sampler(std::make_unique<ScriptedSource>(std::vector{kPackage}, script), 0, {});
  CHECK(sampler.channel_stats(0).health == ReadStatus::kOk);
  CHECK(sampler.channel_stats(0).edges == 0);
}

namespace {

// Brings three readings of its first channel at a time, each with its own, and of the second only what the first of them brings.
class Several : public Source {
 public:
  Several() : channels_{millijoules("gpu-0"), millijoules("package-0")} { channels_[0].provenance = Provenance::kIntegrated; }
  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override {
    if (part_ == 0) ++reads;
    out[0] = {.count = ++count_, .at_ns = now_ns()};
    out[1] = {.count = reads};
    if (part_ > 0) out[1].status = ReadStatus::kNoNews;
    part_ = (part_ + 1) % 3;
  }
  [[nodiscard]] bool has_more() const noexcept override { return part_ != 0; }
  std::uint64_t reads = 0;

 private:
  std::vector<ChannelInfo> channels_;
  std::uint64_t count_ = 0;
  int part_ = 0;
};

}  // namespace

TEST_CASE("of a source that brings several news at a time each is an edge, and the others' readings stay what they were") {
  auto source = std::make_unique<Several>();
  const Several& several = *source;
  Sampler sampler(std::move(source), 0, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  CHECK(sampler.channel_stats(0).edges == 3);  // the first reading of all
  CHECK(sampler.channel_stats(1).edges == 1);
  sampler.start();
  sampler.ask();
  for (int i = 0; i < 5; ++i) poll(sampler);
  sampler.stop();
  CHECK(several.reads > 5);
  CHECK(sampler.channel_stats(0).edges == 3 * several.reads);
  CHECK(sampler.channel_stats(1).edges == several.reads);
}

TEST_CASE("a source all of whose channels have ended is read no more") {
  const Bench bench({kPackage, millijoules("package-1")}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  bench.sampler->ask();
  for (const std::size_t channel : {0u, 1u}) {
    const std::uint64_t before = bench.script->reads_so_far();
    bench.poll();
    CHECK(bench.script->reads_so_far() > before);
    bench.script->fail(channel, ReadStatus::kGone, ENODEV);
    bench.poll();
  }
  const std::uint64_t before = bench.script->reads_so_far();
  bench.poll();
  CHECK(bench.script->reads_so_far() == before);
}

TEST_CASE("what holds for all of a channel stands in each of its edges") {
  ChannelInfo filtered = kPackage;
  filtered.filtered = true;
  ChannelInfo estimated = millijoules("cpu");
  estimated.provenance = Provenance::kEstimated;
  const Bench bench({filtered, estimated, millijoules("dram-0")}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.script->under_load(1);
  bench.sampler->start();
  bench.sampler->ask();
  for (int i = 0; i < 5; ++i) bench.poll();
  bench.sampler->stop();
  for (const auto& [channel, flags] : {std::pair{0u, kEdgeFiltered}, std::pair{1u, kEdgeEstimated}, std::pair{2u, EdgeFlag{}}}) {
    const Lease lease = bench.edges(channel);
    CHECK(lease.edges().size() > 4);
    for (const Edge& edge : lease.edges()) CHECK((edge.flags & (kEdgeFiltered | kEdgeEstimated)) == flags);
  }
}

TEST_CASE("it is known whether a run of edges has anything rare in it") {
  ChannelInfo channel = kPackage;
  channel.modulus = 1000;
  const Bench bench({channel}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  const Recorder& recorder = bench.sampler->recorder(0);
  bench.sampler->start();
  bench.sampler->ask();
  bench.script->count(0, 900);
  bench.poll();
  CHECK_FALSE(recorder.has_rare_since(0));
  bench.script->count(0, 100);
  bench.poll();
  CHECK(recorder.has_rare_since(0));
  const Lease lease = bench.edges();
  std::uint64_t index = lease.first_index();
  for (const Edge& edge : lease.edges()) {
    if ((edge.flags & kEdgeWrapped) != 0) break;
    ++index;
  }
  CHECK(recorder.has_rare_since(index));
  CHECK_FALSE(recorder.has_rare_since(index + 1));
}

TEST_CASE("marks settle while a lease holds the whole ring") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 50, .capacity = 1});
  bench.script->under_load(1);
  bench.sampler->start();
  bench.sampler->ask();
  const std::uint64_t capacity = bench.sampler->ring(0)->capacity();
  while (bench.sampler->ring(0)->head() < capacity) bench.poll();
  const Lease lease = bench.edges();
  while (bench.sampler->channel_stats(0).dropped == 0) bench.poll();
  const Edge held = lease.edges().back();

  const auto mark = bench.mark(now_ns());
  REQUIRE(mark->wait_until(soon()));

  REQUIRE(mark->slots()[0].state == MarkState::kKnown);
  const Point& point = mark->slots()[0].point;
  CHECK(point.lower == held.joules);
  CHECK(point.joules > held.joules);
  CHECK(point.upper > point.joules);
  bench.sampler->stop();
  CHECK(point.upper < static_cast<double>(bench.script->reads_so_far()) * 1e-3 + 1e-9);  // the sums are rounded differently
}

TEST_CASE("a channel whose values may be older than an edge can say is refused") {
  ChannelInfo slow = kPackage;
  slow.stale_ns = 3000 * kMs;
  CHECK_THROWS_AS(Bench({slow}), Error);
  slow.stale_ns = -1;
  CHECK_THROWS_AS(Bench({slow}), Error);
  slow.stale_ns = 2000 * kMs;
  CHECK_NOTHROW(Bench({slow}));
}

TEST_CASE("a source without channels is refused") { CHECK_THROWS_AS(Bench({}), Error); }

TEST_CASE("ticks that were missed are counted, and the edge after them is late") {
  auto script = std::make_shared<Script>();
  std::atomic<int> slow_reads{0};
  script->during_read = [&] {  // one reading that takes five periods
    if (slow_reads.fetch_add(1) != 2) return;
    const std::int64_t until_ns = now_ns() + 5 * kMs;
    while (now_ns() < until_ns) {
    }
  };
  script->readings.resize(1);
  script->under_load(1);
  Sampler sampler(std::make_unique<ScriptedSource>(std::vector{kPackage}, script), 0, {.mode = Mode::kPoll, .period_ns = kMs});
  const std::int64_t began_ns = now_ns();
  sampler.start();
  sampler.ask();
  while (slow_reads.load() < 30) poll(sampler);
  sampler.stop();
  const SamplerStats stats = sampler.stats();
  CHECK(stats.missed_ticks >= 4);
  CHECK(stats.polls + stats.missed_ticks <= static_cast<std::uint64_t>((now_ns() - began_ns) / kMs + 3));  // each tick once
  const Lease lease = sampler.ring(0)->lease();
  const auto edges = lease.edges();
  REQUIRE(edges.size() >= 4);
  CHECK(edges[2].read_ns >= 5 * kMs);
  CHECK((edges[3].flags & kEdgeLate) != 0);
  const auto late = std::count_if(edges.begin(), edges.end(), [](const Edge& edge) { return (edge.flags & kEdgeLate) != 0; });
  CHECK(static_cast<std::uint64_t>(late) <= stats.missed_ticks);  // a gap of a period is what polling means
}

TEST_CASE("statistics add up: every poll is in the histogram of readings, and CPU time was used") {
  const Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.script->under_load(1);
  bench.sampler->start();
  bench.sampler->ask();
  for (int i = 0; i < 20; ++i) bench.poll();
  CHECK(bench.sampler->stats().cpu_ns > 0);
  bench.sampler->stop();
  const SamplerStats stats = bench.sampler->stats();
  CHECK(stats.polls == bench.script->reads_so_far());
  CHECK(std::accumulate(stats.read_ns.begin(), stats.read_ns.end(), std::uint64_t{0}) == stats.polls);
  CHECK(std::accumulate(stats.wakeup_ns.begin(), stats.wakeup_ns.end(), std::uint64_t{0}) == stats.polls - 1);
  CHECK(stats.wakeup_ns[0] >= 1);  // the first, which is due when it is asked for
  CHECK(stats.cpu_ns > 0);
  CHECK(bench.sampler->channel_stats(0).edges == bench.sampler->ring(0)->head());
}

TEST_CASE("a hardware stamp locates an edge, and better than the readings do") {
  ChannelInfo channel = kPackage;
  channel.stamp_tick_ns = 10.0;
  channel.stamp_modulus = std::uint64_t{1} << 40;
  auto script = std::make_shared<Script>();
  script->readings.resize(1);
  std::vector<std::int64_t> reads, updates;  // touched by the reading thread only
  script->during_read = [&] {
    // The counter was updated some time since the reading before, on a device clock of its own.
    const auto number = static_cast<std::int64_t>(updates.size());
    const std::int64_t t_ns = now_ns();
    std::int64_t update_ns = t_ns - number * 7919 % 480'000;
    if (!reads.empty()) update_ns = std::max(update_ns, reads.back() + 1);
    reads.push_back(t_ns);
    updates.push_back(update_ns);
    script->set(0, {.count = static_cast<std::uint64_t>(number),
                    .stamp = static_cast<std::uint64_t>(update_ns / 10 + 12'345'678) % channel.stamp_modulus});
  };
  Sampler sampler(std::make_unique<ScriptedSource>(std::vector{channel}, script), 0, {.mode = Mode::kPoll, .period_ns = kMs / 2});
  sampler.start();
  sampler.ask();
  while (sampler.ring(0)->head() < 100) poll(sampler);
  sampler.stop();
  const Lease lease = sampler.ring(0)->lease();
  const auto edges = lease.edges();
  REQUIRE(edges.size() == updates.size());
  std::int64_t gaps_ns = 0, distances_ns = 0;  // of the second half
  for (std::size_t i = 0; i < edges.size(); ++i) {
    CHECK((edges[i].flags & kEdgeStamped) != 0);
    CHECK(updates[i] <= edges[i].t_ns);
    CHECK(updates[i] > edges[i].t_ns - static_cast<std::int64_t>(edges[i].gap_ns) - 1);
    if (i > 0) CHECK(edges[i].t_ns > edges[i - 1].t_ns);
    if (i < 50) continue;
    gaps_ns += edges[i].gap_ns;
    distances_ns += std::min<std::int64_t>(reads[i] - reads[i - 1], kMs);
  }
  CHECK(gaps_ns < distances_ns / 2);  // the distance of two readings is all that they can say
}

TEST_CASE("the sampler's thread takes no signals, and the caller's stay as they were") {
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
  REQUIRE(::sigismember(&before, SIGINT) == 0);
  std::atomic<int> blocked{-1};
  auto script = std::make_shared<Script>();
  const auto caller = std::this_thread::get_id();
  script->during_read = [&] {
    if (std::this_thread::get_id() == caller) return;
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    int missing = 0;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGALRM, SIGUSR1, SIGPROF}) {
      missing += ::sigismember(&mask, signal) == 1 ? 0 : 1;
    }
    blocked.store(missing);
  };
  Sampler sampler(std::make_unique<ScriptedSource>(std::vector{kPackage}, script), 0, {});
  sampler.start();
  sampler.ask();
  sampler.wait_in_step(soon());
  CHECK(blocked.load() == 0);
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGALRM, SIGUSR1, SIGPROF}) {
    CHECK(::sigismember(&after, signal) == ::sigismember(&before, signal));
  }
}

TEST_CASE("the sampler's thread has a name, as much of it as fits, and timers that are not put off") {
  ChannelInfo channel = kPackage;
  channel.source = "scripted_in_a_test";
  std::string name;
  int slack_ns = -1;
  auto script = std::make_shared<Script>();
  script->during_read = [&] {  // last by the sampler's thread, which has ended when they are looked at
    char text[16];
    ::pthread_getname_np(::pthread_self(), text, sizeof text);
    name = text;
    slack_ns = ::prctl(PR_GET_TIMERSLACK);
  };
  Sampler sampler(std::make_unique<ScriptedSource>(std::vector{channel}, script), 0, {});
  sampler.start();
  sampler.ask();
  sampler.wait_in_step(soon());
  sampler.stop();
  CHECK(name == "pp-scripted_in_");
  CHECK(slack_ns == 1);
}

TEST_CASE("the sampler runs on the CPU that reads its source cheapest") {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  REQUIRE(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  int last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) last = cpu;
  }
  ChannelInfo channel = kPackage;
  channel.cpu = last;
  std::atomic<int> count{0};
  std::atomic<int> ran_on{-1};
  auto script = std::make_shared<Script>();
  script->during_read = [&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(0, sizeof set, &set);
    count.store(CPU_COUNT(&set));
    ran_on.store(::sched_getcpu());
  };
  Sampler sampler(std::make_unique<ScriptedSource>(std::vector{channel}, script), 0, {});
  sampler.start();
  sampler.ask();
  sampler.wait_in_step(soon());
  sampler.stop();
  CHECK(count.load() == 1);
  CHECK(ran_on.load() == last);
}

// The child has the sampler's memory but not its thread. A child that hangs is ended by its alarm, and the test sees the signal.
TEST_CASE("a fork's child stops and destroys the sampler without hanging, and the parent's goes on") {
  Bench bench({kPackage}, {.mode = Mode::kPoll, .period_ns = kMs / 10});
  bench.sampler->start();
  bench.sampler->ask();
  const auto mark = bench.mark(now_ns());
  // Somebody who looks at statistics all the time: at the fork a lock of the sampler may be held by a thread the child lacks.
  std::atomic<bool> done{false};
  std::thread looker([&] {
    while (!done.load()) (void)bench.sampler->stats();
  });
  int hung = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::signal(SIGALRM, SIG_DFL);
      ::alarm(10);
      (void)bench.sampler->stats();
      bench.sampler->stop();
      bench.sampler.reset();
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    hung += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
    if (hung > 0) break;
  }
  done.store(true);
  looker.join();
  CHECK(hung == 0);
  bench.poll();
}
