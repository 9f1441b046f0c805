// SPDX-License-Identifier: MIT
#include "core/slow_pacer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace powerprobe {
namespace {

constexpr std::int64_t kMs = 1'000'000;

// Between two looks for a step that may come at any moment. The shortest period known is 20 ms; to look more often than 200 times
// a second was seen to make other users of a driver wait.
constexpr std::int64_t kSearchNs = 5 * kMs;

// A power reading is looked at twice in each of its periods, unless that is more often than so.
constexpr std::int64_t kLookNs = 20 * kMs;

// A counter that did not move for so long rests, and is looked at rarely until it does.
constexpr std::int64_t kRestNs = 1'000 * kMs;
constexpr std::int64_t kRestLookNs = 50 * kMs;

// So long after the last step that was seen a counter is still where it is expected: periods are known to some parts in ten
// thousand.
constexpr std::int64_t kPhaseNs = 2'000 * kMs;

// Every step that it came late for counts 2, every other takes 1 back: with so many the counter is not where it is looked for.
constexpr std::uint32_t kLost = 8;

// What is not used of the budget can be saved up for so long, and overdrawn by as much.
constexpr std::int64_t kCreditNs = 1'000 * kMs;

// Where the period is not known: the longest that is known.
constexpr std::int64_t kUsualPeriodNs = 100 * kMs;

}  // namespace

SlowPacer::SlowPacer(std::span<const ChannelInfo> channels, double budget) : budget_(budget) {
  for (const ChannelInfo& channel : channels) {
    pause_ns_ = std::max(pause_ns_, channel.least_pause_ns);
    paces_.emplace_back(channel.provenance == Provenance::kMeasured,
                        channel.update_period_ns > 0 ? channel.update_period_ns : kUsualPeriodNs);
  }
}

void SlowPacer::activate(std::int64_t now_ns) noexcept {
  for (Pace& pace : paces_) {
    if (now_ns - pace.place_ns > kPhaseNs) pace.cadence.lose_phase();
    pace.was_located = false;
    pace.moved_ns = now_ns;
  }
}

std::int64_t SlowPacer::polled(std::int64_t before_ns, std::int64_t after_ns, std::span<const Sight> sights) noexcept {
  read_ns_ = read_ns_ == 0 ? after_ns - before_ns : read_ns_ + (std::min(after_ns - before_ns, 4 * read_ns_) - read_ns_) / 16;
  const std::int64_t before_last_ns = std::exchange(before_ns_, before_ns);
  polled_ns_ = after_ns;
  for (std::size_t i = 0; i < paces_.size(); ++i) {
    paces_[i].has_ended |= sights[i].ended;
    if (paces_[i].has_steps && sights[i].stepped) see(paces_[i], sights[i], before_last_ns);
  }
  return kPlan;
}

void SlowPacer::see(Pace& pace, const Sight& sight, std::int64_t before_last_ns) noexcept {
  std::int64_t place_ns = sight.t_ns - sight.gap_ns / 2;
  pace.moved_ns = sight.t_ns;
  // Only the device's own stamp can say more than the polls did.
  pace.is_stamped = sight.t_ns - sight.gap_ns > before_last_ns && sight.t_ns + pause_ns_ / 2 < before_ns_;
  const std::int64_t well_ns = pace.cadence.is_learned() ? std::max(tight_ns(), std::lround(pace.cadence.period_ns() / 8))
                                                         : 2 * kSearchNs + tight_ns();
  if (sight.gap_ns <= well_ns) {
    if (pace.cadence.is_learned()) (sight.gap_ns <= tight_ns() ? pace.caught : pace.late).add();
    pace.doubt -= pace.doubt > 0;
    locate(pace, place_ns);
  } else {
    pace.was_located = false;
    const std::int64_t period_ns = std::lround(pace.cadence.period_ns());
    const bool was_let_pass = std::abs(place_ns - pace.passed_ns) < period_ns * 3 / 4;
    const bool was_looked_for = sight.gap_ns < 2 * period_ns;  // else nobody asked meanwhile
    if (!was_let_pass && was_looked_for && pace.cadence.is_learned()) come_late(pace);
    // The last that can have come: then the one after it is looked for.
    if (pace.cadence.is_learned() && pace.cadence.is_in_phase()) place_ns = pace.cadence.next_ns(sight.t_ns - period_ns);
  }
  pace.place_ns = place_ns;
}

void SlowPacer::come_late(Pace& pace) noexcept {
  pace.late.add();
  need(pace, 2 * pace.reach_ns);  // how early it came cannot be known
  pace.doubt += 2;
  if (pace.doubt < kLost) return;
  pace.doubt = 0;
  pace.cadence.unlearn();
}

void SlowPacer::locate(Pace& pace, std::int64_t place_ns) noexcept {
  Cadence& cadence = pace.cadence;
  if (cadence.is_in_phase() && cadence.is_learned()) need(pace, cadence.nearest_ns(place_ns) - place_ns);
  const bool is_first = !cadence.is_learned();
  cadence.step(place_ns, pace.was_located);
  pace.was_located = true;
  if (is_first && cadence.is_learned()) {  // both steps were found by the search
    pace.needs.fill(kSearchNs);
    need(pace, kSearchNs);
  }
}

void SlowPacer::need(Pace& pace, std::int64_t ns) const noexcept {
  const std::int64_t most_ns = std::lround(pace.cadence.period_ns() / 2);
  pace.needs[std::exchange(pace.next_need, (pace.next_need + 1) % pace.needs.size())] = std::min(ns, most_ns);
  pace.reach_ns = std::max<std::int64_t>(*std::max_element(pace.needs.begin(), pace.needs.end()), 0) + pause_ns_ / 2;
}

std::int64_t SlowPacer::plan(std::int64_t now_ns, std::int64_t cpu_ns, bool hurry) noexcept {
  const std::int64_t used_ns = cpu_ns - std::exchange(cpu_ns_, cpu_ns);
  allowed_ns_ = std::max(allowed_ns_, now_ns - kCreditNs) + std::llround(static_cast<double>(used_ns) / budget_);
  allowed_ns_ = std::min(allowed_ns_, now_ns + kCreditNs);
  return due(now_ns, hurry);
}

std::int64_t SlowPacer::hurry(std::int64_t now_ns) noexcept { return due(now_ns, true); }

std::int64_t SlowPacer::due(std::int64_t now_ns, bool hurry) noexcept {
  std::int64_t due_ns = polled_ns_ + 1'000 * kMs;
  for (Pace& pace : paces_) {
    if (!pace.has_ended) due_ns = std::min(due_ns, due(pace, now_ns, hurry));
  }
  return std::max(due_ns, polled_ns_ + pause_ns_);
}

std::int64_t SlowPacer::due(Pace& pace, std::int64_t now_ns, bool hurry) const noexcept {
  const Cadence& cadence = pace.cadence;
  const std::int64_t period_ns = std::lround(cadence.period_ns());
  pace.period.set(cadence.is_learned() ? static_cast<std::uint64_t>(period_ns) : 0);
  pace.spread.set(static_cast<std::uint64_t>(cadence.spread_ns()));
  pace.guard.set(static_cast<std::uint64_t>(pace.reach_ns));
  if (!pace.has_steps) return polled_ns_ + std::max(period_ns / 2, kLookNs);
  const std::int64_t paid_ns = hurry ? now_ns : std::max(now_ns, allowed_ns_);
  if (now_ns - pace.moved_ns > kRestNs) return std::max(paid_ns, polled_ns_ + kRestLookNs);
  if (!cadence.is_learned() || !cadence.is_in_phase()) return std::max(paid_ns, polled_ns_ + kSearchNs);
  const std::int64_t seen_ns = std::max(pace.place_ns, pace.passed_ns) + period_ns / 2;
  std::int64_t expected_ns = cadence.next_ns(seen_ns);
  if (now_ns > expected_ns + period_ns / 2) return std::max(paid_ns, polled_ns_ + std::max(kSearchNs, pause_ns_));
  const std::int64_t late_ns = std::lround(3.0 * cadence.spread_ns()) + pause_ns_;
  const auto begin_ns = [&] { return pace.is_stamped ? expected_ns + late_ns : expected_ns - pace.reach_ns; };
  while (begin_ns() < paid_ns && polled_ns_ < begin_ns()) {  // not paid for, and nobody has begun to look for it
    if (paid_ns == now_ns) break;
    pace.skipped.add();
    pace.passed_ns = expected_ns;
    expected_ns = cadence.next_ns(expected_ns + period_ns / 2);
  }
  return begin_ns();
}

PaceStats SlowPacer::stats(std::size_t channel) const noexcept {
  const Pace& pace = paces_[channel];
  return {.caught = pace.caught.get(),
          .late = pace.late.get(),
          .skipped = pace.skipped.get(),
          .period_ns = static_cast<std::int64_t>(pace.period.get()),
          .spread_ns = static_cast<std::int64_t>(pace.spread.get()),
          .guard_ns = static_cast<std::int64_t>(pace.guard.get())};
}

}  // namespace powerprobe
