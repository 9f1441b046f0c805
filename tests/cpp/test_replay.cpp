// SPDX-License-Identifier: MIT
#include "sources/replay.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <functional>

#include "allocations.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"

using namespace powerprobe;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kNever = 1'000'000 * kSecond;

ReplayChannel channel(const std::string& name, std::vector<ReplayStep> steps) {
  ReplayChannel result;
  result.info.name = name;
  result.info.joules_per_count = 1.0;
  result.steps = std::move(steps);
  return result;
}

ReplayOptions stepped() {
  ReplayOptions options;
  options.stepped = true;
  return options;
}

Reading read_one(Source& source) {
  Reading reading;
  source.read({&reading, 1});
  return reading;
}

ReplayFault fault(std::int64_t begin_ns, std::int64_t end_ns, const std::string& name, ReadStatus status, int error) {
  return {begin_ns, end_ns, name, status, error, 0};
}

}  // namespace

TEST_CASE("stepped: each reading is the next step, whatever the time, and the last one stays") {
  Replay source({channel("a", {{0, 250}, {5, 3}, {kNever, 3}, {2 * kNever, 7}})}, {}, stepped());
  for (const std::uint64_t count : {250u, 3u, 3u, 7u, 7u, 7u}) CHECK(read_one(source).count == count);
}

TEST_CASE("stepped: channels go through their own steps") {
  Replay source({channel("a", {{0, 1}, {1, 2}, {2, 3}}), channel("b", {{0, 10}, {1, 20}})}, {}, stepped());
  std::array<Reading, 2> out;
  for (const auto& [a, b] : {std::pair{1u, 10u}, {2u, 20u}, {3u, 20u}}) {
    source.read(out);
    CHECK(out[0].count == a);
    CHECK(out[1].count == b);
  }
}

TEST_CASE("a channel is what the script says it is") {
  ReplayChannel script = channel("gpu-0", {{0, 1, 4}, {1, 2, 9}});
  script.info.domain = "gpu";
  script.info.modulus = 100;
  script.info.stamp_tick_ns = 10.0;
  script.info.stamp_modulus = 1000;
  script.info.provenance = Provenance::kIntegrated;
  Replay source({script, channel("b", {{0, 0}})}, {}, stepped());
  const ChannelInfo& info = source.channels()[0];
  CHECK(info.name == "gpu-0");
  CHECK(info.domain == "gpu");
  CHECK(info.modulus == 100);
  CHECK(info.provenance == Provenance::kIntegrated);
  CHECK(info.source == "replay");
  std::array<Reading, 2> out;
  source.read(out);
  CHECK(out[0].stamp == 4);
  source.read(out);
  CHECK(out[0].stamp == 9);
}

TEST_CASE("by the clock: the staircase at script time") {
  struct Row {
    double rate;
    std::int64_t started_ago_ns;
    std::uint64_t count;
  };
  const std::vector<ReplayStep> steps = {{0, 1}, {kSecond, 2}, {100 * kSecond, 3}, {kNever, 4}};
  for (const Row& row : {Row{1.0, -3600 * kSecond, 1}, Row{1.0, 10 * kSecond, 2}, Row{100.0, 10 * kSecond, 3},
                         Row{0.01, 10 * kSecond, 1}, Row{0.5, 10 * kSecond, 2}, Row{1e12, 10 * kSecond, 4}}) {
    CAPTURE(row.rate);
    CAPTURE(row.started_ago_ns);
    ReplayOptions options;
    options.rate = row.rate;
    options.start_ns = now_ns() - row.started_ago_ns;
    REQUIRE(options.start_ns > 0);
    Replay source({channel("a", steps)}, {}, options);
    CHECK(read_one(source).count == row.count);
    CHECK(read_one(source).count == row.count);
    CHECK(source.start_ns() == options.start_ns);
  }
}

TEST_CASE("by the clock: readings follow the steps as time goes on") {
  std::vector<ReplayStep> steps;
  for (std::uint64_t i = 0; i < 2000; ++i) steps.push_back({static_cast<std::int64_t>(i) * 1'000, 5 * i});
  const std::int64_t before_ns = now_ns();
  Replay source({channel("a", steps)});
  CHECK(source.start_ns() >= before_ns);
  std::uint64_t last = 0;
  while (last < 5 * 1999) {
    const std::int64_t from_ns = now_ns() - source.start_ns();
    const std::uint64_t count = read_one(source).count;
    const std::int64_t until_ns = now_ns() - source.start_ns();
    CHECK(count >= 5 * std::min<std::uint64_t>(static_cast<std::uint64_t>(from_ns) / 1'000, 1999));
    CHECK(count <= 5 * (static_cast<std::uint64_t>(until_ns) / 1'000));
    CHECK(count >= last);
    last = count;
  }
}

TEST_CASE("faults hold for their time and their channel, and the script goes on behind them") {
  const std::vector<ReplayStep> steps = {{0, 1}, {10, 2}, {20, 3}, {30, 4}, {40, 5}};
  Replay source({channel("a", steps), channel("b", steps)},
                {fault(10, 30, "a", ReadStatus::kRetry, EIO), fault(40, kNever, "", ReadStatus::kGone, ENODEV)},
                stepped());
  std::array<Reading, 2> out;
  const auto next = [&] { source.read(out); };
  next();
  CHECK(out[0].status == ReadStatus::kOk);
  next();
  CHECK(out[0].status == ReadStatus::kRetry);
  CHECK(out[0].error == EIO);
  CHECK(out[1].status == ReadStatus::kOk);
  CHECK(out[1].count == 2);
  next();
  CHECK(out[0].status == ReadStatus::kRetry);
  next();
  CHECK(out[0].status == ReadStatus::kOk);
  CHECK(out[0].error == 0);
  CHECK(out[0].count == 4);
  next();
  CHECK(out[0].status == ReadStatus::kGone);
  CHECK(out[1].status == ReadStatus::kGone);
  CHECK(out[1].error == ENODEV);
}

TEST_CASE("faults go by script time when the clock does") {
  ReplayOptions options;
  options.rate = 100.0;
  options.start_ns = now_ns() - 10 * kSecond;
  REQUIRE(options.start_ns > 0);
  Replay past({channel("a", {{0, 1}})}, {fault(0, 500 * kSecond, "a", ReadStatus::kFatal, EIO)}, options);
  CHECK(read_one(past).status == ReadStatus::kOk);
  Replay present({channel("a", {{0, 1}})}, {fault(500 * kSecond, kNever, "a", ReadStatus::kFatal, EIO)}, options);
  CHECK(read_one(present).status == ReadStatus::kFatal);
}

TEST_CASE("a slow reading takes as long as the script says and is right") {
  ReplayFault slow;
  slow.begin_ns = 10;
  slow.end_ns = 20;
  slow.sleep_ns = 30'000'000;
  Replay source({channel("a", {{0, 1}, {10, 2}, {20, 3}})}, {slow}, stepped());
  CHECK(read_one(source).count == 1);
  const std::int64_t before_ns = now_ns();
  const Reading reading = read_one(source);
  CHECK(now_ns() - before_ns >= slow.sleep_ns);
  CHECK(reading.status == ReadStatus::kOk);
  CHECK(reading.count == 2);
}

TEST_CASE("reading does not allocate") {
  Replay source({channel("a", {{0, 1}, {10, 2}})}, {fault(10, 20, "a", ReadStatus::kRetry, EIO)}, stepped());
  Replay clocked({channel("a", {{0, 1}, {10, 2}})});
  const std::size_t before = allocations;
  CHECK(before > 0);
  for (int i = 0; i < 5; ++i) {
    Reading reading;
    source.read({&reading, 1});
    clocked.read({&reading, 1});
  }
  const std::size_t after = allocations;
  CHECK(after == before);
}

TEST_CASE("wrong arguments are named") {
  const auto complaint = [](const std::vector<ReplayChannel>& channels, const std::vector<ReplayFault>& faults = {},
                            const ReplayOptions& options = {}) -> std::string {
    try {
      const Replay source(channels, faults, options);
      return "";
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kBadArgument);
      return error.what();
    }
  };
  const auto changed = [](const std::function<void(ReplayChannel&)>& change) {
    ReplayChannel result = channel("a", {{0, 1}, {10, 2}});
    change(result);
    return std::vector{result};
  };
  const auto names = [](const std::string& what, const std::string& argument) {
    CAPTURE(what);
    CHECK(what.find(argument) != std::string::npos);
  };
  const std::vector<ReplayChannel> good = {channel("a", {{0, 1}})};
  CHECK(complaint(good) == "");

  names(complaint({}), "channels");
  names(complaint({good[0], good[0]}), "channels: two are called a");
  names(complaint(changed([](ReplayChannel& c) { c.info.name = ""; })), "name");
  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    names(complaint(changed([&](ReplayChannel& c) { c.info.joules_per_count = bad; })), "joules_per_count");
  }
  names(complaint(changed([](ReplayChannel& c) { c.steps.clear(); })), "steps");
  names(complaint(changed([](ReplayChannel& c) { c.steps[0].time_ns = 1; })), "steps");
  names(complaint(changed([](ReplayChannel& c) { c.steps[1].time_ns = 0; })), "step 1: time_ns");
  names(complaint(changed([](ReplayChannel& c) { c.info.modulus = 2; })), "step 1: count");
  names(complaint(changed([](ReplayChannel& c) { c.steps[1].stamp = 1; })), "stamp_tick_ns");
  names(complaint(changed([](ReplayChannel& c) {
          c.info.stamp_tick_ns = 1.0;
          c.info.stamp_modulus = 5;
          c.steps[1].stamp = 5;
        })),
        "stamp_modulus");

  names(complaint(good, {fault(5, 5, "a", ReadStatus::kRetry, 0)}), "end_ns");
  names(complaint(good, {fault(-1, 5, "a", ReadStatus::kRetry, 0)}), "begin_ns");
  names(complaint(good, {fault(0, 5, "x", ReadStatus::kRetry, 0)}), "no channel x");
  names(complaint(good, {fault(0, 5, "a", ReadStatus::kOk, 0)}), "status");
  ReplayFault negative = fault(0, 5, "a", ReadStatus::kRetry, 0);
  negative.sleep_ns = -1;
  names(complaint(good, {negative}), "sleep_ns");

  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")}) {
    ReplayOptions options;
    options.rate = bad;
    names(complaint(good, {}, options), "rate");
  }
  ReplayOptions early;
  early.start_ns = -1;
  names(complaint(good, {}, early), "start_ns");
}
