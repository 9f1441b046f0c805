// SPDX-License-Identifier: MIT
// Edges that another process finds, with rings that the test writes.
#include "core/relay.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/error.hpp"
#include "core/recorder.hpp"
#include "core/relay_pacer.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

struct Told {
  bool is_there = true;
  std::int64_t asked_until_ns = 0;
  int looks = 0;
};

class ToldUpstream final : public Upstream {
 public:
  explicit ToldUpstream(Told& told) : told_(told) {}
  [[nodiscard]] bool is_there() noexcept override {
    ++told_.looks;
    return told_.is_there;
  }
  void ask_until(std::int64_t t_ns) noexcept override { told_.asked_until_ns = t_ns; }

 private:
  Told& told_;
};

struct Bench {
  Told told;
  std::vector<std::shared_ptr<Ring>> rings{Ring::create(1), Ring::create(1)};
  std::vector<Reading> readings = std::vector<Reading>(2);
  std::unique_ptr<Relay> relay;

  Bench() {
    for (const auto& ring : rings) ring->header().is_written = true;
    relay = std::make_unique<Relay>(std::vector{millijoules("package-0"), millijoules("dram-0")},
                                    std::vector{RingReader(rings[0]), RingReader(rings[1])}, std::make_unique<ToldUpstream>(told));
  }
  void publish(std::size_t channel, std::int64_t t_ns, double joules) {
    REQUIRE(rings[channel]->publish({.t_ns = t_ns, .joules = joules, .gap_ns = 7, .read_ns = 8, .flags = kEdgeLate, .segment = 3}));
  }
  const Reading& read(std::size_t channel = 0) {
    relay->read(readings);
    return readings[channel];
  }
};

}  // namespace

TEST_CASE("edges come as they are, one of each channel at a time") {
  Bench bench;
  bench.publish(0, 100, 1.5);
  bench.publish(0, 200, 2.5);
  bench.publish(1, 150, 9.0);
  bench.read();
  REQUIRE(bench.readings[0].edge != nullptr);
  CHECK(bench.readings[0].edge->t_ns == 100);
  CHECK(bench.readings[0].edge->joules == 1.5);
  CHECK(bench.readings[0].edge->gap_ns == 7);
  CHECK(bench.readings[0].edge->flags == kEdgeLate);
  CHECK(bench.readings[0].edge->segment == 3);
  REQUIRE(bench.readings[1].edge != nullptr);
  CHECK(bench.readings[1].edge->joules == 9.0);
  CHECK(bench.relay->has_more());
  REQUIRE(bench.read().edge != nullptr);
  CHECK(bench.readings[0].edge->t_ns == 200);
  CHECK(bench.readings[1].edge == nullptr);
  CHECK(bench.readings[1].status == ReadStatus::kNoNews);
  CHECK_FALSE(bench.relay->has_more());
  CHECK(bench.told.looks == 1);  // for many edges whether somebody is there is looked at once
  CHECK(bench.read().status == ReadStatus::kNoNews);
  CHECK(bench.told.looks == 2);
}

TEST_CASE("a ring's whole history comes before anything else is done") {
  Bench bench;
  const auto capacity = static_cast<std::int64_t>(bench.rings[0]->capacity());
  for (std::int64_t i = 1; i <= capacity + 5; ++i) bench.publish(0, i, static_cast<double>(i));
  std::int64_t count = 0;
  std::int64_t last_ns = 0;
  do {
    bench.read();
    if (bench.readings[0].edge == nullptr) continue;
    ++count;
    last_ns = bench.readings[0].edge->t_ns;
  } while (bench.relay->has_more());
  CHECK(last_ns == capacity + 5);
  CHECK(count == capacity + (bench.relay->has_more() ? 1 : 0));
}

TEST_CASE("edges that were overwritten before they came are told of by the next one") {
  Bench bench;
  bench.publish(0, 1, 1.0);
  bench.read();
  const auto capacity = static_cast<std::int64_t>(bench.rings[0]->capacity());
  for (std::int64_t i = 2; i <= capacity + 3; ++i) bench.publish(0, i, 1.0);
  REQUIRE(bench.read().edge != nullptr);
  CHECK(bench.readings[0].edge->t_ns == 4);
  CHECK(bench.readings[0].edge->flags == (kEdgeLate | kEdgeDropped));
  REQUIRE(bench.read().edge != nullptr);
  CHECK(bench.readings[0].edge->flags == kEdgeLate);
}

TEST_CASE("a channel is gone when nobody writes it any more, but not before its last edge") {
  SUBCASE("it ended there") {
    Bench bench;
    bench.publish(0, 100, 1.0);
    bench.rings[0]->header().ended_ns = 120;
    bench.rings[0]->header().health = static_cast<std::uint64_t>(ReadStatus::kGone) | ENODEV << 8;
    CHECK(bench.read().edge != nullptr);
    CHECK(bench.read().status == ReadStatus::kGone);
    CHECK(bench.readings[0].error == ENODEV);
    CHECK(bench.readings[1].status == ReadStatus::kNoNews);
  }
  SUBCASE("its process ended") {
    Bench bench;
    bench.publish(1, 100, 1.0);
    bench.told.is_there = false;
    bench.read();
    CHECK(bench.readings[0].status == ReadStatus::kGone);
    CHECK(bench.readings[0].error == ESRCH);
    CHECK(bench.readings[1].edge != nullptr);
    CHECK(bench.read(1).status == ReadStatus::kGone);
  }
  SUBCASE("its probe was stopped") {
    Bench bench;
    bench.publish(0, 100, 1.0);
    for (const auto& ring : bench.rings) ring->header().is_written = false;
    CHECK(bench.read().edge != nullptr);
    CHECK(bench.read().status == ReadStatus::kGone);
    CHECK(bench.readings[0].error == 0);
  }
}

TEST_CASE("readings that fail there are readings that fail") {
  Bench bench;
  bench.rings[0]->header().health = static_cast<std::uint64_t>(ReadStatus::kRetry) | EIO << 8;
  CHECK(bench.read().status == ReadStatus::kRetry);
  CHECK(bench.readings[0].error == EIO);
  bench.rings[0]->header().health = 0;
  CHECK(bench.read().status == ReadStatus::kNoNews);
}

TEST_CASE("what is asked here is asked there") {
  Bench bench;
  CHECK(bench.relay->is_relay());
  bench.relay->ask_until(123);
  CHECK(bench.told.asked_until_ns == 123);
  CHECK_THROWS_AS(Relay({millijoules("package-0")}, {}, std::make_unique<ToldUpstream>(bench.told)), Error);
}

TEST_CASE("a recorder stores such an edge as it is, and nothing that is not later") {
  const ChannelInfo channel = millijoules("package-0");
  Recorder recorder(channel, 1);
  const auto take = [&](const Edge& edge) {
    return recorder.take({.count = 77, .edge = &edge}, 5'000, 6'000, true, 1);
  };
  const Edge first{.t_ns = 1'000, .joules = 4.0, .gap_ns = 10, .read_ns = 3, .flags = kEdgeFirst, .segment = 2};
  CHECK_FALSE(take(first).stepped);
  const Edge step{.t_ns = 2'000, .joules = 5.0, .gap_ns = 20, .read_ns = 3, .flags = kEdgeWrapped | kEdgeStamped, .segment = 2};
  const Sight sight = take(step);
  CHECK(sight.stepped);
  CHECK(sight.t_ns == 2'000);
  CHECK(sight.gap_ns == 20);
  CHECK_FALSE(take({.t_ns = 2'000, .joules = 6.0}).stepped);
  CHECK_FALSE(take({.t_ns = 3'000, .joules = 5.0, .flags = kEdgeQuiet, .segment = 2}).stepped);
  take({.t_ns = 4'000, .joules = 5.0, .flags = kEdgeReset, .segment = 4});
  const Lease lease = recorder.ring()->lease();
  REQUIRE(lease.edges().size() == 4);
  CHECK(lease.edges()[1].joules == 5.0);
  CHECK(lease.edges()[1].gap_ns == 20);
  CHECK(lease.edges()[1].read_ns == 3);
  CHECK(lease.edges()[1].flags == (kEdgeWrapped | kEdgeStamped));
  CHECK(lease.edges()[1].segment == 2);
  CHECK(recorder.stats().edges == 4);
  CHECK(recorder.stats().wraps == 1);
  CHECK(recorder.stats().resets == 2);
}

TEST_CASE("the pacer looks soon while somebody waits, and seldom else") {
  ChannelInfo fast = millijoules("package-0");
  fast.update_period_ns = kMs;
  ChannelInfo slow = millijoules("gpu-0");
  slow.update_period_ns = 100 * kMs;
  RelayPacer pacer(std::vector{fast, slow});
  std::vector<Sight> sights(2);
  pacer.activate(1'000);
  CHECK(pacer.polled(1'000, 1'100, sights) == Pacing::kPlan);
  CHECK_FALSE(pacer.is_in_step());
  CHECK(pacer.plan(2'000, 0, false) == 2'000 + kMs / 4);
  sights[0].t_ns = 999;  // from before somebody asked
  pacer.polled(2'000, 2'100, sights);
  CHECK_FALSE(pacer.is_in_step());
  sights[0].t_ns = 1'000;  // the slow one is not waited for
  pacer.polled(3'000, 3'100, sights);
  CHECK(pacer.is_in_step());
  CHECK(pacer.plan(4'000, 0, false) == 4'000 + 20 * kMs);
  CHECK(pacer.plan(4'000, 0, true) == 4'000 + kMs / 4);
  CHECK(pacer.hurry(5'000) == 5'000);
  pacer.activate(6'000);
  CHECK_FALSE(pacer.is_in_step());
  sights[0] = {.ended = true};
  pacer.polled(7'000, 7'100, sights);
  CHECK(pacer.is_in_step());
  CHECK(pacer.stats(1).period_ns == 100 * kMs);
  RelayPacer only_slow(std::vector{slow});
  CHECK(only_slow.plan(0, 0, true) == 20 * kMs);
}
