// SPDX-License-Identifier: MIT
// What one channel makes of its readings, with readings and times made up by the test.
#include "core/recorder.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <vector>

#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

constexpr std::int64_t kUs = 1'000;
constexpr std::int64_t kStart = 1'000 * kMs;
constexpr std::int64_t kReadNs = 10 * kUs;
const ChannelInfo kPackage = millijoules("package-0");  // no older than a millisecond

struct Bench {
  ChannelInfo channel;
  Recorder recorder;

  explicit Bench(const ChannelInfo& info = kPackage, std::size_t capacity = 1) : channel(info), recorder(channel, capacity) {}

  // A reading that was over at that time after the start and took kReadNs.
  Sight take(std::int64_t at_ns, const Reading& reading, bool late = false, std::int64_t tight_ns = INT64_MAX) {
    return recorder.take(reading, kStart + at_ns - kReadNs, kStart + at_ns, late, tight_ns);
  }
  Sight count(std::int64_t at_ns, std::uint64_t count) { return take(at_ns, {.count = count}); }
  [[nodiscard]] std::vector<Edge> edges() const {
    const Lease lease = recorder.ring()->lease();
    return {lease.edges().begin(), lease.edges().end()};
  }
  [[nodiscard]] Edge newest() const { return edges().back(); }
  [[nodiscard]] MarkState state(std::int64_t at_ns, bool give_up = false) const {
    Mark::Slot slot;
    const bool is_filled = recorder.fill(slot, kStart + at_ns, give_up);
    CHECK(is_filled == (slot.state != MarkState::kPending));
    return slot.state;
  }
  // Until each slot has an edge, one millisecond and count apart; the time and count of the last.
  std::int64_t fill_ring() {
    const auto capacity = static_cast<std::int64_t>(recorder.ring()->capacity());
    for (std::int64_t i = 0; i < capacity; ++i) count(i * kMs, static_cast<std::uint64_t>(i));
    return capacity - 1;
  }
};

ChannelInfo wrapping() {
  ChannelInfo channel = kPackage;
  channel.modulus = 1'000;  // 1 J
  channel.max_watts = 100.0;
  return channel;
}

}  // namespace

TEST_CASE("the first reading starts the total, and is no step") {
  Bench bench(kPackage, 1'000);
  CHECK(bench.recorder.ring()->capacity() >= 1'000);
  CHECK(bench.recorder.stats().health == ReadStatus::kOk);  // nothing has gone wrong yet
  const Sight sight = bench.count(0, 700);
  CHECK_FALSE(sight.stepped);
  const Edge edge = bench.newest();
  CHECK(edge.t_ns == kStart);
  CHECK(edge.joules == 0.0);
  CHECK(edge.gap_ns == kMs + kReadNs);
  CHECK(edge.read_ns == kReadNs);
  CHECK(edge.flags == kEdgeFirst);
  CHECK(edge.segment == 0);
  const ChannelStats stats = bench.recorder.stats();
  CHECK(stats.edges == 1);
  CHECK(stats.health == ReadStatus::kOk);
  CHECK(stats.ended_ns == INT64_MAX);
}

TEST_CASE("a step came after the begin of the reading before, and no longer ago than a value can be old") {
  Bench bench;
  bench.count(0, 700);
  bench.count(100 * kUs, 700);
  const Sight sight = bench.count(300 * kUs, 705);
  CHECK(sight.stepped);
  CHECK(sight.t_ns == kStart + 300 * kUs);
  CHECK(sight.gap_ns == 200 * kUs + kReadNs);
  CHECK(bench.newest().joules == doctest::Approx(5e-3));
  CHECK(bench.newest().t_ns == sight.t_ns);
  CHECK(bench.newest().gap_ns == sight.gap_ns);
  CHECK(bench.newest().flags == 0);
  CHECK(bench.count(10 * kMs, 706).gap_ns == kMs + kReadNs);
}

TEST_CASE("rest is news when it has lasted for twice as long as a value can be old") {
  Bench bench;
  bench.count(0, 700);
  bench.count(2 * kMs - 1, 700);
  CHECK(bench.edges().size() == 1);
  CHECK_FALSE(bench.count(2 * kMs, 700).stepped);
  REQUIRE(bench.edges().size() == 2);
  CHECK(bench.newest().flags == kEdgeQuiet);
  CHECK(bench.newest().joules == 0.0);
  CHECK(bench.newest().gap_ns == kMs + kReadNs);
  bench.count(3 * kMs, 700);
  CHECK(bench.edges().size() == 2);
}

TEST_CASE("a wrap goes on and a reset starts a new segment") {
  Bench bench(wrapping());
  bench.count(0, 900);
  bench.count(500 * kUs, 950);
  CHECK(bench.count(kMs, 50).stepped);
  CHECK(bench.newest().flags == kEdgeWrapped);
  CHECK(bench.newest().joules == doctest::Approx(0.15));
  CHECK(bench.newest().gap_ns == 500 * kUs + kReadNs);
  CHECK(bench.newest().segment == 0);
  CHECK(bench.recorder.stats().wraps == 1);
  CHECK_FALSE(bench.count(1'200 * kUs, 900).stepped);  // 0.85 J in 2.2 ms at the most
  CHECK(bench.newest().flags == kEdgeReset);
  CHECK(bench.newest().joules == doctest::Approx(0.15));
  CHECK(bench.newest().gap_ns == 200 * kUs + kReadNs);
  CHECK(bench.newest().segment == 1);
  CHECK(bench.recorder.stats().wraps == 1);
  CHECK(bench.recorder.stats().resets == 1);
}

// 100 W for the time since the begin of the reading before, and for the millisecond that a value can be old.
TEST_CASE("how much energy is possible depends on how old the values can be and how long readings take") {
  Bench bench(wrapping());
  bench.count(0, 0);
  CHECK(bench.count(500 * kUs, 151).stepped);   // 1.51 ms
  CHECK_FALSE(bench.count(kMs, 303).stepped);   // 152 counts
  Bench slow(wrapping());
  slow.recorder.take({.count = 0}, kStart, kStart + kMs, false, INT64_MAX);
  CHECK(slow.recorder.take({.count = 300}, kStart + 2 * kMs, kStart + 3 * kMs, false, INT64_MAX).stepped);
}

TEST_CASE("a reading so late that a wrap may hide in it starts a new segment and says so") {
  Bench bench(wrapping());
  bench.count(0, 0);
  bench.count(9 * kMs, 10);  // 1 J takes 10 ms, 1 of them may have gone before the reading
  CHECK((bench.newest().flags & kEdgeAmbiguous) == kEdgeAmbiguous);
  CHECK(bench.newest().segment == 1);
  bench.count(10 * kMs, 20);
  CHECK(bench.newest().flags == 0);
  CHECK(bench.newest().segment == 1);
}

TEST_CASE("readings that failed are counted, and the edge after them says so") {
  Bench bench;
  bench.count(0, 700);
  const Sight sight = bench.take(100 * kUs, {.count = 999, .status = ReadStatus::kRetry, .error = EAGAIN});
  CHECK_FALSE(sight.stepped);
  CHECK_FALSE(sight.ended);
  CHECK(bench.edges().size() == 1);
  CHECK(bench.recorder.stats().retries == 1);
  CHECK(bench.recorder.stats().health == ReadStatus::kRetry);
  CHECK(bench.recorder.stats().error == EAGAIN);
  bench.count(200 * kUs, 702);
  CHECK(bench.newest().flags == kEdgeAfterRetry);
  CHECK(bench.newest().gap_ns == 200 * kUs + kReadNs);
  CHECK(bench.newest().joules == doctest::Approx(2e-3));
  CHECK(bench.recorder.stats().health == ReadStatus::kOk);
  CHECK(bench.recorder.stats().error == 0);
  bench.count(300 * kUs, 703);
  CHECK(bench.newest().flags == 0);
}

TEST_CASE("a reading that takes longer than two seconds is as good as failed") {
  Bench bench;
  const auto take = [&](std::int64_t length_ns, std::uint64_t count) {
    bench.recorder.take({.count = count}, kStart, kStart + length_ns, false, INT64_MAX);
    return bench.edges().size();
  };
  CHECK(take(2'000 * kMs + 1, 1) == 0);
  CHECK(bench.recorder.stats().health == ReadStatus::kRetry);
  CHECK(take(2'000 * kMs, 2) == 1);
  CHECK(bench.newest().read_ns == 2'000'000'000);
}

TEST_CASE("gaps have room for the longest reading of the oldest value") {
  ChannelInfo slow = kPackage;
  slow.stale_ns = 2'000 * kMs;
  Bench bench(slow);
  bench.recorder.take({.count = 1}, kStart, kStart + 2'000 * kMs, false, INT64_MAX);
  CHECK(bench.newest().gap_ns == 4'000'000'000);
  slow.stale_ns = 10'000 * kMs;  // a sampler refuses it
  Bench too_slow(slow);
  too_slow.count(0, 1);
  CHECK(too_slow.newest().gap_ns == UINT32_MAX);
}

TEST_CASE("late is an edge after a missed tick, and a step with a gap that is not tight") {
  Bench bench;
  bench.count(0, 700);
  bench.take(100 * kUs, {.count = 701}, true);
  CHECK(bench.newest().flags == kEdgeLate);
  bench.take(200 * kUs, {.count = 702}, false, 100 * kUs + kReadNs);
  CHECK(bench.newest().flags == 0);
  bench.take(300 * kUs, {.count = 703}, false, 100 * kUs + kReadNs - 1);
  CHECK(bench.newest().flags == kEdgeLate);
  bench.take(400 * kUs, {.count = 703}, true);  // no edge: the next one says it
  bench.take(500 * kUs, {.count = 704});
  CHECK(bench.newest().flags == kEdgeLate);
  bench.take(5 * kMs, {.count = 704}, false, 1);  // rest cannot be late
  CHECK(bench.newest().flags == kEdgeQuiet);
  ChannelInfo channel = kPackage;
  channel.provenance = Provenance::kEstimated;
  Bench estimate(channel);
  estimate.count(0, 1);
  CHECK(estimate.take(100 * kUs, {.count = 2}, true, 1).stepped);  // it moves whenever it is read, and is late only with the tick
  CHECK(estimate.newest().flags == (kEdgeLate | kEdgeEstimated));
  estimate.take(200 * kUs, {.count = 3}, false, 1);
  CHECK(estimate.newest().flags == kEdgeEstimated);
}

TEST_CASE("what holds for all of a channel stands in each of its edges") {
  ChannelInfo channel = kPackage;
  channel.filtered = true;
  Bench filtered(channel);
  filtered.count(0, 1);
  filtered.count(kMs, 2);
  CHECK(filtered.newest().flags == kEdgeFiltered);
  channel.filtered = false;
  channel.provenance = Provenance::kEstimated;
  Bench estimated(channel);
  estimated.count(0, 1);
  estimated.count(kMs, 2);
  CHECK(estimated.newest().flags == kEdgeEstimated);
}

TEST_CASE("a stamp says when a step came, on a clock of its own that wraps") {
  ChannelInfo channel = kPackage;
  channel.stamp_tick_ns = 10.0;
  channel.stamp_modulus = 1'000'000;  // 10 ms
  Bench bench(channel);
  const auto take = [&](std::int64_t at_ns, std::int64_t stepped_ns, std::uint64_t count) {
    return bench.take(at_ns, {.count = count, .stamp = static_cast<std::uint64_t>(stepped_ns / 10 + 999'990) % 1'000'000});
  };
  take(20 * kUs, 0, 1);
  CHECK((bench.newest().flags & kEdgeStamped) != 0);
  take(kMs + 30 * kUs, kMs, 2);  // seen late
  take(2 * kMs - 10 * kUs, kMs, 2);
  take(2 * kMs + 10 * kUs, 2 * kMs, 3);  // seen well: from now on it is known
  for (std::int64_t i = 3; i < 30; ++i) {
    const Sight sight = take(i * kMs + 500 * kUs, i * kMs, static_cast<std::uint64_t>(i + 1));
    const Edge edge = bench.newest();
    CHECK(edge.flags == kEdgeStamped);
    CHECK(edge.t_ns == sight.t_ns);
    CHECK(edge.gap_ns == sight.gap_ns);
    CHECK(edge.t_ns - kStart >= i * kMs);
    CHECK(edge.t_ns - kStart - static_cast<std::int64_t>(edge.gap_ns) < i * kMs);
    CHECK(edge.gap_ns < 100 * kUs);
  }
  // Rest is told at the time of the reading.
  take(40 * kMs, 29 * kMs, 30);
  CHECK(bench.newest().flags == kEdgeQuiet);
  CHECK(bench.newest().t_ns == kStart + 40 * kMs);
}

TEST_CASE("stamped edges come one after the other, also when a step came while it was read that there was none") {
  ChannelInfo channel = kPackage;
  channel.stamp_tick_ns = 10.0;
  channel.stamp_modulus = std::uint64_t{1} << 40;
  Bench bench(channel);
  const auto take = [&](std::int64_t at_ns, std::int64_t stepped_ns, std::uint64_t count) {
    bench.take(at_ns, {.count = count, .stamp = static_cast<std::uint64_t>(stepped_ns / 10)});
  };
  take(kUs, 0, 1);
  take(2 * kMs + kUs, 0, 1);
  const Edge quiet = bench.newest();
  REQUIRE(quiet.flags == kEdgeQuiet);
  take(2 * kMs + 30 * kUs, 2 * kMs - 7 * kUs, 2);
  const Edge step = bench.newest();
  CHECK(step.t_ns == quiet.t_ns + 1);
  CHECK(step.t_ns - static_cast<std::int64_t>(step.gap_ns) < kStart + 2 * kMs - 7 * kUs);
}

TEST_CASE("a channel that ends says when, and takes nothing any more") {
  for (const ReadStatus status : {ReadStatus::kGone, ReadStatus::kFatal}) {
    Bench bench;
    bench.count(0, 1);
    bench.count(3 * kMs, 2);
    CHECK(bench.take(4 * kMs, {.count = 3, .status = status, .error = ENODEV}).ended);
    CHECK(bench.count(5 * kMs, 4).ended);
    CHECK(bench.edges().size() == 2);
    const ChannelStats stats = bench.recorder.stats();
    CHECK(stats.ended_ns == kStart + 4 * kMs - kReadNs);
    CHECK(stats.health == status);
    CHECK(stats.error == ENODEV);
    CHECK(stats.retries == 0);
    CHECK(bench.state(kMs) == MarkState::kKnown);
    CHECK(bench.state(4 * kMs) == MarkState::kGone);
  }
}

TEST_CASE("what a dropped edge had to say is said by the next, and so is its energy") {
  Bench bench(wrapping());
  std::int64_t at = bench.fill_ring();
  std::optional<Lease> lease(bench.recorder.ring()->lease());
  const auto count = [&] {
    ++at;
    return bench.count(at * kMs, static_cast<std::uint64_t>(at) % 1'000);
  };
  while (at < 1'004) CHECK(count().stepped);  // wraps on the way
  lease.reset();
  const std::uint64_t edges = bench.recorder.stats().edges;
  const std::uint64_t dropped = bench.recorder.stats().dropped;
  CHECK(dropped > 0);
  CHECK(edges + dropped == static_cast<std::uint64_t>(at + 1));
  count();
  CHECK(bench.newest().flags == (kEdgeWrapped | kEdgeDropped));
  CHECK(bench.newest().joules == doctest::Approx(static_cast<double>(at) * 1e-3));
  count();
  CHECK(bench.newest().flags == 0);
}

TEST_CASE("the index of the last rare edge is known") {
  Bench bench(wrapping());
  CHECK_FALSE(bench.recorder.has_rare_since(0));
  bench.count(0, 990);
  bench.count(kMs, 995);
  CHECK_FALSE(bench.recorder.has_rare_since(0));
  bench.count(2 * kMs, 5);
  CHECK(bench.recorder.has_rare_since(0));
  CHECK(bench.recorder.has_rare_since(2));
  CHECK_FALSE(bench.recorder.has_rare_since(3));
}

TEST_CASE("a mark is known from the edge before it to the newest instant that is settled, and not before") {
  Bench bench;
  CHECK(bench.state(0) == MarkState::kPending);  // nothing was read
  CHECK(bench.state(-kStart - 1) == MarkState::kPending);
  CHECK(bench.state(0, true) == MarkState::kUnsettled);
  bench.count(0, 1);
  CHECK(bench.state(-1) == MarkState::kOutside);
  CHECK(bench.state(-1, true) == MarkState::kOutside);
  CHECK(bench.state(0) == MarkState::kPending);  // one edge answers nothing
  bench.count(kMs, 2);
  bench.count(2 * kMs, 3);
  const std::int64_t settled_ns = 2 * kMs - kMs - kReadNs;
  CHECK(bench.state(0) == MarkState::kKnown);
  CHECK(bench.state(settled_ns) == MarkState::kKnown);
  CHECK(bench.state(settled_ns + 1) == MarkState::kPending);
  CHECK(bench.state(settled_ns + 1, true) == MarkState::kUnsettled);
  bench.take(3 * kMs, {.status = ReadStatus::kGone});
  CHECK(bench.state(settled_ns + 1) == MarkState::kGone);
}

TEST_CASE("one edge of a counter whose values are never old answers nothing either") {
  ChannelInfo fresh = kPackage;
  fresh.stale_ns = 0;
  Bench bench(fresh);
  bench.recorder.take({.count = 1}, kStart, kStart, false, INT64_MAX);
  CHECK(bench.state(0) == MarkState::kPending);
}

TEST_CASE("a mark far back in the ring is known, and carries what was counted until then") {
  Bench bench(wrapping());
  bench.count(0, 990);
  for (std::int64_t i = 1; i <= 100; ++i) bench.count(i * kMs, static_cast<std::uint64_t>(990 + i) % 1'000);
  Mark::Slot slot;
  REQUIRE(bench.recorder.fill(slot, kStart + 50 * kMs, false));
  CHECK(slot.point.t_ns == kStart + 50 * kMs);
  CHECK(slot.point.joules == doctest::Approx(50e-3).epsilon(0.02));
  CHECK(slot.wraps == 1);
  CHECK(slot.dropped == 0);
}

TEST_CASE("while a lease holds the whole ring a mark lies between its newest edge and the newest that was dropped") {
  Bench bench;
  std::int64_t at = bench.fill_ring();
  const std::optional<Lease> lease(bench.recorder.ring()->lease());
  const Edge held = bench.newest();
  for (int i = 0; i < 3; ++i) {
    ++at;
    CHECK(bench.count(at * kMs, static_cast<std::uint64_t>(at)).stepped);
  }
  Mark::Slot slot;
  REQUIRE(bench.recorder.fill(slot, held.t_ns + kMs, false));
  CHECK(slot.point.lower == held.joules);
  CHECK(slot.point.upper > held.joules);
  CHECK(slot.dropped == 3);
  slot = {};
  REQUIRE(bench.recorder.fill(slot, held.t_ns, false));  // at the very instant of the last that is held
  CHECK(slot.point.lower == held.joules);
  CHECK(bench.state(at * kMs - kMs - kReadNs) == MarkState::kKnown);
  CHECK(bench.state(at * kMs - kMs - kReadNs + 1) == MarkState::kPending);
}

TEST_CASE("a reading without news is a good one that brings nothing") {
  Bench bench;
  bench.count(0, 700);
  bench.take(100 * kUs, {.status = ReadStatus::kRetry, .error = EAGAIN});
  const Sight sight = bench.take(200 * kUs, {.count = 1, .status = ReadStatus::kNoNews}, true);
  CHECK_FALSE(sight.stepped);
  CHECK_FALSE(sight.ended);
  CHECK(sight.t_ns == 0);
  CHECK(bench.edges().size() == 1);
  CHECK(bench.recorder.stats().health == ReadStatus::kOk);
  CHECK(bench.recorder.stats().retries == 1);
  bench.take(20 * kMs, {.status = ReadStatus::kNoNews});  // no rest either: nobody looked
  CHECK(bench.edges().size() == 1);
  bench.count(20 * kMs + 300 * kUs, 702);
  CHECK(bench.newest().gap_ns == kMs + kReadNs);  // the old value was last seen at the start
  CHECK(bench.newest().flags == kEdgeAfterRetry);
}

TEST_CASE("a count that was reached at a time of its own stands there") {
  ChannelInfo channel = kPackage;
  channel.stale_ns = 100 * kMs;
  Bench bench(channel);
  const auto take = [&](std::int64_t read_ns, std::uint64_t count, std::int64_t at_ns, std::int64_t gap_ns) {
    return bench.take(read_ns, {.count = count, .at_ns = kStart + at_ns, .gap_ns = gap_ns}, false, 50 * kUs);
  };
  take(kMs, 700, 0, 20 * kUs);
  CHECK(bench.newest().t_ns == kStart);
  CHECK(bench.newest().gap_ns == 20 * kUs);
  CHECK(bench.newest().flags == (kEdgeFirst | kEdgeStamped));
  const Sight sight = take(90 * kMs, 705, 60 * kMs, 30 * kUs);
  CHECK(sight.stepped);
  CHECK(sight.t_ns == kStart + 60 * kMs);
  CHECK(sight.gap_ns == 30 * kUs);
  CHECK(bench.newest().t_ns == sight.t_ns);
  CHECK(bench.newest().gap_ns == sight.gap_ns);
  CHECK(bench.newest().joules == doctest::Approx(5e-3));
  CHECK(bench.newest().read_ns == kReadNs);
  CHECK(bench.newest().flags == kEdgeStamped);
  take(91 * kMs, 706, 70 * kMs, 51 * kUs);
  CHECK(bench.newest().flags == (kEdgeStamped | kEdgeLate));
  take(92 * kMs, 706, 80 * kMs, 10 * kUs);  // the same count: no step
  CHECK(bench.edges().size() == 3);
  // Rest is told at the time of the reading, and a step that says it came before that stands after it all the same.
  take(300 * kMs, 706, 299 * kMs, 10 * kUs);
  CHECK(bench.newest().flags == kEdgeQuiet);
  CHECK(bench.newest().t_ns == kStart + 300 * kMs);
  take(302 * kMs, 707, 299 * kMs, 10 * kUs);
  CHECK(bench.newest().t_ns == kStart + 300 * kMs + 1);
  CHECK(bench.newest().gap_ns == kMs + 1 + 10 * kUs);
}

TEST_CASE("what is possible is told by when a count was read, not by when it says it was reached") {
  Bench bench(wrapping());
  bench.take(0, {.count = 0, .at_ns = kStart});
  CHECK(bench.take(500 * kUs, {.count = 151, .at_ns = kStart + 2}).stepped);
  CHECK(bench.newest().segment == 0);
  CHECK_FALSE(bench.take(kMs, {.count = 303, .at_ns = kStart + 900 * kMs}).stepped);
  CHECK(bench.newest().segment == 1);
}

TEST_CASE("an integrated channel says itself what was when: each reading is an edge, none late, and nothing is waited for") {
  ChannelInfo channel = kPackage;
  channel.provenance = Provenance::kIntegrated;
  Bench bench(channel);
  const auto take = [&](std::int64_t read_ns, std::uint64_t count, std::int64_t at_ns) {
    const Sight sight = bench.take(read_ns, {.count = count, .at_ns = kStart + at_ns, .gap_ns = 10 * kMs}, true, kUs);
    CHECK_FALSE(sight.stepped);
    CHECK(sight.t_ns == 0);
  };
  take(100 * kMs, 5, 10 * kMs);
  take(200 * kMs, 8, 110 * kMs);
  CHECK(bench.newest().flags == 0);
  CHECK(bench.newest().t_ns == kStart + 110 * kMs);
  CHECK(bench.newest().joules == doctest::Approx(3e-3));
  take(200 * kMs + 100 * kUs, 8, 199 * kMs);  // 0 W
  REQUIRE(bench.edges().size() == 3);
  CHECK(bench.newest().flags == 0);
  CHECK(bench.newest().t_ns == kStart + 199 * kMs);
  CHECK(bench.newest().gap_ns == 10 * kMs);
  CHECK(bench.newest().joules == doctest::Approx(3e-3));
  // One that does not say when it was is rest like that of a counter: news only when it has lasted.
  bench.take(200 * kMs + 200 * kUs, {.count = 8});
  CHECK(bench.edges().size() == 3);
  bench.take(201 * kMs, {.count = 8});
  REQUIRE(bench.edges().size() == 4);
  CHECK(bench.newest().flags == kEdgeQuiet);
}

namespace {

// A counter that steps every ten milliseconds and its guide, which has more of a sensor.
struct Guided {
  ChannelInfo counter_info = kPackage;
  ChannelInfo guide_info = kPackage;
  std::optional<Recorder> counter, guide;

  explicit Guided(std::int64_t window_ns = 20 * kMs, std::int64_t period_ns = 10 * kMs) {
    guide_info.window_ns = window_ns;
    guide_info.update_period_ns = period_ns;
    counter_info.guide = 1;
    counter.emplace(counter_info, 1);
    guide.emplace(guide_info, 1);
    counter->follow(*guide);
    take(*counter, 0, 0);
    take(*guide, 0, 0);
    take(*counter, 10 * kMs, 10);
    take(*counter, 20 * kMs, 20);
  }
  static void take(Recorder& recorder, std::int64_t at_ns, std::uint64_t count, ReadStatus status = ReadStatus::kOk) {
    recorder.take({.count = count, .status = status, .at_ns = kStart + at_ns}, kStart + at_ns - kReadNs, kStart + at_ns, false,
                  INT64_MAX);
  }
  [[nodiscard]] MarkState state(std::int64_t at_ns, bool give_up = false) const { return slot(at_ns, give_up).state; }
  [[nodiscard]] double joules(std::int64_t at_ns, bool give_up = false) const { return slot(at_ns, give_up).point.joules; }
  [[nodiscard]] Mark::Slot slot(std::int64_t at_ns, bool give_up) const {
    Mark::Slot slot;
    counter->fill(slot, kStart + at_ns, give_up);
    return slot;
  }
};

}  // namespace

TEST_CASE("a mark waits for the guide of the step it is in, and is shaped by it") {
  Guided bench;
  CHECK(bench.state(5 * kMs) == MarkState::kPending);
  bench.take(*bench.guide, 2 * kMs, 30);
  bench.take(*bench.guide, 9 * kMs, 30);
  CHECK(bench.state(5 * kMs) == MarkState::kPending);  // it does not cover the step yet
  bench.take(*bench.guide, 11 * kMs, 30);
  CHECK(bench.joules(kMs) == doctest::Approx(5e-3));
  CHECK(bench.joules(5 * kMs) == doctest::Approx(10e-3));
  CHECK(bench.state(10 * kMs) == MarkState::kKnown);
  CHECK(bench.state(10 * kMs + 1) == MarkState::kPending);
  bench.take(*bench.guide, 20 * kMs, 31);
  CHECK(bench.state(15 * kMs) == MarkState::kKnown);
}

TEST_CASE("a guide that does not tell keeps nothing back for good") {
  for (const ReadStatus status : {ReadStatus::kOk, ReadStatus::kNoNews, ReadStatus::kRetry}) {
    Guided bench;
    CHECK(bench.joules(5 * kMs, true) == doctest::Approx(5e-3));  // nothing is waited for
    const std::int64_t patience_ns = 50 * kMs;
    bench.take(*bench.counter, 10 * kMs + patience_ns - 1, 20, status);
    CHECK(bench.state(5 * kMs) == MarkState::kPending);
    bench.take(*bench.counter, 10 * kMs + patience_ns, 20, status);
    CHECK(bench.joules(5 * kMs) == doctest::Approx(5e-3));
    CHECK(bench.state(15 * kMs) == MarkState::kPending);
  }
  Guided slow(1'000 * kMs, 100 * kMs);  // no longer than half a second
  slow.take(*slow.counter, 510 * kMs - 1, 20);
  CHECK(slow.state(5 * kMs) == MarkState::kPending);
  slow.take(*slow.counter, 510 * kMs, 20);
  CHECK(slow.state(5 * kMs) == MarkState::kKnown);
  Guided over;
  over.take(*over.guide, 21 * kMs, 0, ReadStatus::kGone);
  CHECK(over.joules(5 * kMs) == doctest::Approx(5e-3));
  Guided ended;
  ended.take(*ended.counter, 21 * kMs, 0, ReadStatus::kGone);
  CHECK(ended.joules(5 * kMs) == doctest::Approx(5e-3));
  CHECK(ended.state(21 * kMs) == MarkState::kGone);
}

TEST_CASE("while a lease holds the whole ring a mark in the newest step waits for the guide as well") {
  Guided bench;
  const auto capacity = static_cast<std::int64_t>(bench.counter->ring()->capacity());
  for (std::int64_t i = 3; i < capacity; ++i) bench.take(*bench.counter, i * 10 * kMs, static_cast<std::uint64_t>(10 * i));
  const Lease lease = bench.counter->ring()->lease();
  REQUIRE(lease.edges().size() == static_cast<std::size_t>(capacity));
  const std::int64_t end_ns = capacity * 10 * kMs;
  bench.take(*bench.counter, end_ns, static_cast<std::uint64_t>(10 * capacity));
  REQUIRE(bench.counter->stats().dropped == 1);
  CHECK(bench.state(end_ns - 8 * kMs) == MarkState::kPending);
  for (const std::int64_t back_ms : {11, 9, -1}) {  // nothing after the first two
    bench.take(*bench.guide, end_ns - back_ms * kMs, back_ms == 11 ? 5 : 9);
  }
  CHECK(bench.joules(end_ns - 5 * kMs) == doctest::Approx(static_cast<double>(10 * capacity) * 1e-3));
}
