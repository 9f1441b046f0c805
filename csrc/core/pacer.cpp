// SPDX-License-Identifier: MIT
#include "core/pacer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace powerprobe {
namespace {

constexpr std::int64_t kUs = 1'000;
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// Until a period is known: what most RAPL counters have.
constexpr std::int64_t kUsualPeriodNs = kMs;

// Who has looked for a step for so long goes on with pauses of a sixteenth of the time that it has looked for.
constexpr std::int64_t kSlowNs = 2 * kMs;
constexpr std::int64_t kPauses = 16;

// As long a step is looked for where the period was never learned. No counter that is worth waiting for is slower.
constexpr std::int64_t kSlowestNs = 300 * kMs;

// Late so often in a row: the counter is not where it is looked for.
constexpr std::uint32_t kLost = 4;

// What is not used of the budget can be saved up for so long: enough for the search after a pause.
constexpr std::int64_t kCreditNs = 50 * kMs;

// And overdrawn, by those who are in a hurry, by no more than what is made good again in that time.
constexpr std::int64_t kDebtNs = 200 * kMs;

// What a channel took is averaged over about so long.
constexpr double kLatelyNs = 100e6;

// Everything is looked at as often as this at least, so that bounds stay narrow where steps are let pass.
constexpr std::int64_t kHeartbeatNs = 20 * kMs;

// A counter that was waited for this often without moving rests, and is only looked at now and then.
constexpr std::uint32_t kFruitless = 3;
constexpr std::int64_t kRestNs = 10 * kMs;

// A stamp is placed on our clock by the polls around its update; as the clocks drift apart its place blurs. Beyond this one
// update is waited for as if it had no stamp, and the two clocks are together again.
constexpr std::int64_t kBlurredNs = 40 * kUs;

// Polls get pauses where without them only every fourth step or fewer could be waited for.
constexpr double kFew = 3.0;

// More poll time than the guard asks for, so that the old value is seen once more before the step.
constexpr std::int64_t kMarginNs = 2 * kUs;

}  // namespace

void Guard::needed(std::int64_t ns) noexcept {
  needs_[next_] = ns;
  next_ = (next_ + 1) % kWindow;
  count_ = std::min(count_ + 1, kWindow);
  ++fresh_;
}

std::int64_t Guard::ns(std::int64_t wake_ns, double budget_ns) noexcept {
  if (fresh_ < (count_ < kFew ? 1 : 8)) return guard_ns_;
  fresh_ = 0;
  std::array<std::int64_t, kWindow> sorted = needs_;
  std::sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(count_));
  const std::size_t most = count_ - kAllowedLate * count_ / kWindow;  // are to be caught
  double best = 0.0;
  double before_ns = 0.0;  // how long before the steps that it catches a guard of none would wake up, summed up
  for (std::size_t caught = 1; caught <= most; ++caught) {
    const auto guard_ns = static_cast<double>(sorted[caught - 1]);
    before_ns += guard_ns;
    const double polling_ns = static_cast<double>(caught) * guard_ns - before_ns;
    const double cost_ns = static_cast<double>(wake_ns + kMarginNs) + polling_ns / static_cast<double>(count_);
    const double value = static_cast<double>(caught) * std::min(1.0, budget_ns / cost_ns);
    if (value < best) continue;
    best = value;
    guard_ns_ = std::max<std::int64_t>(sorted[caught - 1], 0) + kMarginNs;
  }
  if (count_ < kFew) guard_ns_ = std::max(guard_ns_ + guard_ns_ / 2, kFirstGuardNs);
  return guard_ns_;
}

Pacer::Pacer(std::span<const ChannelInfo> channels, double budget, std::int64_t period_ns)
    : budget_(budget), period_ns_(period_ns) {
  for (const ChannelInfo& channel : channels) {
    const bool has_steps = channel.provenance == Provenance::kMeasured;
    const Kind kind = !has_steps ? Kind::kPlain : channel.stamp_tick_ns > 0.0 ? Kind::kStamped : Kind::kSteps;
    paces_.emplace_back(kind, channel.update_period_ns > 0 ? channel.update_period_ns : kUsualPeriodNs);
  }
}

bool Pacer::rests(const Pace& pace) const noexcept { return pace.fruitless >= kFruitless; }

bool Pacer::is_slow(const Pace& pace) noexcept { return pace.cadence.period_ns() > static_cast<double>(kSlowNs); }

std::int64_t Pacer::patience_ns(const Pace& pace) noexcept {
  if (!pace.cadence.is_learned()) return kSlowestNs;
  return static_cast<std::int64_t>(pace.cadence.period_ns() * (is_slow(pace) ? 2.0 : 4.0));
}

// Between two looks for a step that may come at any moment; 0: none.
std::int64_t Pacer::pause_ns(const Pace& pace, std::int64_t now_ns) noexcept {
  if (pace.pause_ns > 0 || pace.expected_ns != 0) return pace.pause_ns;
  if (is_slow(pace)) return std::llround(pace.cadence.period_ns()) / kPauses;
  const std::int64_t looked_ns = now_ns - std::max(pace.began_ns, pace.last_step_ns);
  return looked_ns > kSlowNs ? looked_ns / kPauses : 0;
}

void Pacer::activate(std::int64_t now_ns) noexcept {
  is_activating_ = false;
  for (Pace& pace : paces_) {
    if (pace.has_ended) continue;
    pace.cadence.lose_phase();
    pace.is_waited_for = false;
    pace.is_unbroken = false;
    pace.expected_ns = 0;
    pace.pause_ns = 0;
    pace.wake_ns = now_ns;
    pace.only_looked_at = pace.kind == Kind::kPlain || rests(pace);
    pace.give_up_ns = now_ns + patience_ns(pace);
    if (!pace.only_looked_at && !is_slow(pace)) is_activating_ = true;
  }
  due_ns_ = 0;
}

std::int64_t Pacer::polled(std::int64_t before_ns, std::int64_t after_ns, std::span<const Sight> sights) noexcept {
  const bool at_once = before_ns - polled_ns_ < tight_ns();  // after the poll before
  const std::int64_t before_last_ns = std::exchange(before_ns_, before_ns);
  if (at_once) {
    // One that was held up in the middle does not make others tight that were not.
    read_ns_ += (std::min(after_ns - before_ns, 4 * read_ns_) - read_ns_) / 16;
  } else if (due_ns_ != 0) {
    latency_ns_ = std::max<std::int64_t>(0, before_ns - due_ns_);
  }
  sleeps_ += !at_once;
  polling_ns_ += after_ns - (at_once ? polled_ns_ : before_ns);
  polled_ns_ = after_ns;
  bool is_bursting = false;
  for (std::size_t i = 0; i < paces_.size(); ++i) {
    Pace& pace = paces_[i];
    pace.has_ended |= sights[i].ended;
    if (pace.has_ended) continue;
    pace.hole_ns = std::max(pace.hole_ns, before_ns - before_last_ns);
    if (!pace.is_waited_for && pace.wake_ns <= before_ns) begin(pace, before_ns, at_once);
    const bool was_waited_for = pace.is_waited_for;
    pace.is_charged |= was_waited_for;
    see(pace, sights[i]);
    if (pace.is_waited_for && after_ns >= pace.give_up_ns) give_up(pace);
    if (was_waited_for && !pace.is_waited_for) pace.wait_ns += (after_ns - pace.began_ns - pace.wait_ns) / 8;
    if (!pace.is_waited_for) continue;
    pace.was_looked_at = true;
    is_bursting |= pause_ns(pace, after_ns) == 0;
  }
  is_activating_ &= is_bursting;
  return is_bursting ? after_ns : kPlan;
}

std::int64_t Pacer::due(std::int64_t now_ns) noexcept {
  due_ns_ = polled_ns_ + kHeartbeatNs;
  for (const Pace& pace : paces_) {
    if (pace.has_ended) continue;
    const std::int64_t due_ns = pace.is_waited_for ? now_ns + pause_ns(pace, now_ns) : pace.wake_ns;
    due_ns_ = std::min(due_ns_, due_ns);
  }
  return due_ns_;
}

// The first step expected after t_ns that has not come yet.
std::int64_t Pacer::next_ns(const Pace& pace, std::int64_t t_ns) noexcept {
  const auto half_ns = static_cast<std::int64_t>(pace.cadence.period_ns() / 2);
  return pace.cadence.next_ns(std::max(t_ns, pace.passed_ns + half_ns));
}

void Pacer::begin(Pace& pace, std::int64_t now_ns, bool at_once) noexcept {
  pace.is_waited_for = !pace.only_looked_at;
  pace.wake_ns = kNever;
  pace.was_looked_at = at_once;
  pace.has_moved = false;
  pace.began_ns = now_ns;
  const bool knows_enough = pace.kind == Kind::kStamped ? pace.cadence.is_learned() : pace.cadence.is_well_learned();
  pace.steps_wanted = knows_enough || pace.expected_ns != 0 ? 1 : 2;
}

void Pacer::see(Pace& pace, const Sight& sight) noexcept {
  if (!sight.stepped || pace.kind == Kind::kPlain) return;
  const std::int64_t since_last_ns = sight.t_ns - std::exchange(pace.last_step_ns, sight.t_ns);
  pace.last_gap_ns = sight.gap_ns;
  pace.has_moved = true;
  pace.fruitless = 0;
  ++pace.sightings;
  const bool is_known = pace.cadence.is_in_phase() && pace.cadence.is_learned();
  const bool is_tight = sight.gap_ns <= tight_ns();
  // Not seen as it came, but looked at so often since the step before that this says where it steps all the same.
  const bool is_coarse = !is_known && std::exchange(pace.hole_ns, 0) <= since_last_ns / 8;
  const std::int64_t most_ns = std::min(2 * pace.pause_ns + latency_ns_, std::lround(pace.cadence.period_ns() * 0.6));
  const bool is_spaced = pace.pause_ns > 0 && sight.gap_ns <= most_ns;
  const bool is_placed = pace.kind == Kind::kStamped && sight.gap_ns <= 2 * kBlurredNs;
  if (is_tight || is_coarse || is_spaced || is_placed) {
    if (is_coarse && !is_tight) pace.needs.needed(sight.gap_ns);
    locate(pace, sight.t_ns - sight.gap_ns / 2, is_tight);
    if (pace.is_waited_for && --pace.steps_wanted == 0) {
      (is_tight ? pace.caught : pace.spaced).add();
      finish(pace);
    }
    return;
  }
  pace.is_unbroken = false;
  // At least the step that was to come first after the poll before is over, even if it is expected a little later than now.
  if (is_known) pace.passed_ns = next_ns(pace, sight.t_ns - sight.gap_ns);
  // At the first look, or before it was waited for at all: the step that was expected next, so it is over; of those that follow
  // steps let pass nobody can tell. Later: the thread was held up while it polled, and the step fell into the hole.
  if (pace.expected_ns != 0 && (pace.is_next || (pace.is_waited_for && pace.was_looked_at))) {
    come_late(pace);
    finish(pace);
  } else if (pace.pause_ns > 0) {
    finish(pace);
  }
}

void Pacer::locate(Pace& pace, std::int64_t place_ns, bool is_tight) noexcept {
  Cadence& cadence = pace.cadence;
  const std::int64_t sightings = std::exchange(pace.sightings, 0);
  if (is_tight && std::exchange(pace.is_coarse, false)) pace.needs = Guard();  // from now on it can be shorter
  if (!cadence.is_learned() && !is_tight) pace.is_coarse = true;
  if (cadence.is_learned() && !pace.is_coarse) {
    const std::int64_t passed = std::llround(static_cast<double>(place_ns - pace.located_ns) / cadence.period_ns());
    const std::int64_t unseen = pace.is_unbroken ? 0 : passed - 1 - pace.late_since;
    if (unseen > 0) pace.skipped.add(static_cast<std::uint64_t>(unseen));
    if (cadence.is_in_phase() && can_be_helped(pace)) {
      const std::int64_t expected_ns = pace.is_unbroken ? cadence.next_ns(cadence.last_ns()) : cadence.nearest_ns(place_ns);
      pace.needs.needed(expected_ns - place_ns + latency_ns_);
    }
    // It was seen to move more often than it can have: what was learned was two or three steps, taken for one.
    if (sightings > passed + 1) cadence.unlearn();
  }
  pace.late_since = 0;
  pace.located_ns = pace.passed_ns = place_ns;
  cadence.step(place_ns, pace.is_unbroken);
  pace.is_unbroken = true;
}

void Pacer::give_up(Pace& pace) noexcept {
  if (!pace.has_moved) {
    ++pace.fruitless;
    pace.cadence.lose_phase();
  }
  // What follows steps that were let pass may have come before we woke; what is next rests, or takes its time.
  if (pace.expected_ns != 0 && !pace.is_next) come_late(pace);
  finish(pace);
}

// A thread that was held up for longer than that does not get there in time by waking up earlier.
bool Pacer::can_be_helped(const Pace& pace) const noexcept {
  return static_cast<double>(latency_ns_) < std::max(pace.cadence.period_ns() / 4, 50e3);
}

void Pacer::come_late(Pace& pace) noexcept {
  pace.late.add();
  ++pace.late_since;
  // How early the step came cannot be known, only that more was needed than there was.
  if (can_be_helped(pace)) {
    pace.needs.needed(std::max(pace.guard_ns + kUs, latency_ns_ + std::lround(2.0 * pace.cadence.spread_ns())));
  }
  if (pace.late_since >= kLost) pace.cadence.lose_phase();
}

void Pacer::finish(Pace& pace) noexcept {
  pace.is_waited_for = false;
  pace.wake_ns = kNever;
}

double Pacer::share() const noexcept {
  // A channel may use its share of the budget and no more, or one whose steps come just before another's would starve it.
  const auto sharing = std::count_if(paces_.begin(), paces_.end(), [this](const Pace& pace) {
    return pace.kind == Kind::kSteps && !pace.has_ended && !rests(pace);
  });
  return budget_ / static_cast<double>(std::max<std::ptrdiff_t>(sharing, 1));
}

void Pacer::charge(std::int64_t now_ns, std::int64_t cpu_ns) noexcept {
  const std::int64_t used_ns = cpu_ns - std::exchange(cpu_ns_, cpu_ns);
  const std::int64_t polling_ns = std::exchange(polling_ns_, 0);
  if (const std::int64_t sleeps = std::exchange(sleeps_, 0); sleeps > 0) {
    const std::int64_t each_ns = std::clamp<std::int64_t>((used_ns - polling_ns) / sleeps, 1 * kUs, 100 * kUs);
    wake_cpu_ns_ += (each_ns - wake_cpu_ns_) / 16;
  }
  const auto charged = std::count_if(paces_.begin(), paces_.end(), [](const Pace& pace) { return pace.is_charged; });
  allowed_ns_ = std::max(allowed_ns_, now_ns - kCreditNs) + std::llround(static_cast<double>(used_ns) / budget_);
  allowed_ns_ = std::min(allowed_ns_, now_ns + kDebtNs);
  const double each_ns = static_cast<double>(used_ns) / static_cast<double>(std::max<std::ptrdiff_t>(charged, 1));
  for (Pace& pace : paces_) {
    if (!std::exchange(pace.is_charged, false)) continue;
    const auto since_ns = static_cast<double>(now_ns - std::exchange(pace.charged_ns, now_ns));
    pace.usage += (each_ns / std::max(since_ns, 1.0) - pace.usage) * std::min(1.0, since_ns / kLatelyNs);
    const std::int64_t paid_ns = std::max(pace.allowed_ns, now_ns - kCreditNs) + std::llround(each_ns / share());
    pace.allowed_ns = std::min(paid_ns, allowed_ns_ > now_ns ? now_ns + kDebtNs : now_ns);  // what others leave may be used
  }
}

// Its own share, and what the others leave.
double Pacer::available(const Pace& pace) const noexcept {
  double left = budget_;
  for (const Pace& other : paces_) left -= &other == &pace ? 0.0 : std::min(other.usage, share());
  return std::max(left, share());
}

// 0: the polls need none, or pauses would not help.
std::int64_t Pacer::affordable_pause_ns(const Pace& pace) const noexcept {
  const double budget_ns = 0.9 * available(pace) * pace.cadence.period_ns();  // for each step, and some for what goes wrong
  const auto wake_ns = static_cast<double>(wake_cpu_ns_);
  // Waits get longer by their pauses, and pauses by the waits: neither may run away.
  const double wait_ns = std::min(static_cast<double>(pace.wait_ns), pace.cadence.period_ns());
  if (wake_ns + wait_ns <= kFew * budget_ns || budget_ns < 1.25 * wake_ns) return 0;
  return std::llround(std::min(wake_ns * wait_ns / (budget_ns - wake_ns), pace.cadence.period_ns() / 3));
}

std::int64_t Pacer::plan(std::int64_t now_ns, std::int64_t cpu_ns, bool hurry) noexcept {
  charge(now_ns, cpu_ns);
  for (Pace& pace : paces_) {
    // A look that is due stays due; a wait depends on what was just paid.
    const bool is_open = pace.wake_ns <= now_ns || pace.wake_ns == kNever || pace.kind == Kind::kSteps;
    if (!pace.has_ended && !pace.is_waited_for && is_open) plan(pace, now_ns, hurry);
  }
  return due(now_ns);
}

std::int64_t Pacer::hurry(std::int64_t now_ns) noexcept {
  for (Pace& pace : paces_) {
    const bool can_hurry = !pace.has_ended && !pace.is_waited_for && pace.kind != Kind::kPlain && !rests(pace);
    if (can_hurry && pace.wake_ns > now_ns) plan(pace, now_ns, true);
  }
  return due(now_ns);
}

void Pacer::plan(Pace& pace, std::int64_t now_ns, bool hurry) noexcept {
  const Cadence& cadence = pace.cadence;
  const std::int64_t period_ns = std::llround(cadence.period_ns());
  const bool is_known = cadence.is_in_phase() && cadence.is_learned();
  const bool is_even = cadence.spread_ns() < cadence.period_ns() / 10;
  // Of uneven steps each is to be waited for from its begin; what that costs, pauses make good.
  const double budget_ns = is_even ? available(pace) * cadence.period_ns() : std::numeric_limits<double>::infinity();
  const std::int64_t guard_ns = pace.guard_ns = pace.needs.ns(wake_cpu_ns_, budget_ns);
  pace.period.set(cadence.is_learned() ? static_cast<std::uint64_t>(period_ns) : 0);
  pace.spread.set(static_cast<std::uint64_t>(cadence.spread_ns()));
  pace.guard.set(static_cast<std::uint64_t>(guard_ns));
  pace.expected_ns = 0;
  pace.only_looked_at = true;
  if (pace.kind == Kind::kPlain) {
    pace.wake_ns = now_ns + std::max(period_ns, period_ns_);
    return;
  }
  if (rests(pace)) {
    pace.wake_ns = now_ns + kRestNs;
    return;
  }
  if (pace.kind == Kind::kStamped && pace.last_gap_ns <= kBlurredNs && is_known) {
    // Where no expectation holds, so often that hardly any step is followed by another unseen.
    pace.wake_ns = is_even ? next_ns(pace, now_ns) + std::llround(2 * cadence.spread_ns()) + kMarginNs : now_ns + period_ns * 3 / 4;
    return;
  }
  pace.only_looked_at = false;
  pace.pause_ns = is_known && !is_even && pace.kind == Kind::kSteps ? affordable_pause_ns(pace) : 0;
  const std::int64_t from_ns = hurry ? now_ns : std::max(now_ns, pace.allowed_ns);
  // Where a step can come at any moment there is nothing to wake up for: whichever comes next will do.
  if (!is_known || guard_ns > period_ns * 3 / 5) {
    pace.wake_ns = from_ns;
    pace.give_up_ns = from_ns + patience_ns(pace);
    return;
  }
  const std::int64_t first_ns = next_ns(pace, now_ns);
  pace.expected_ns = from_ns > now_ns ? next_ns(pace, from_ns + guard_ns) : first_ns;
  pace.wake_ns = std::max(now_ns, pace.expected_ns - guard_ns);
  pace.is_next = pace.expected_ns == first_ns;
  pace.give_up_ns = pace.expected_ns + guard_ns + (pace.is_next ? period_ns / 2 : 10 * kMarginNs);
}

PaceStats Pacer::stats(std::size_t channel) const noexcept {
  const Pace& pace = paces_[channel];
  return {.caught = pace.caught.get(),
          .spaced = pace.spaced.get(),
          .late = pace.late.get(),
          .skipped = pace.skipped.get(),
          .period_ns = static_cast<std::int64_t>(pace.period.get()),
          .spread_ns = static_cast<std::int64_t>(pace.spread.get()),
          .guard_ns = static_cast<std::int64_t>(pace.guard.get())};
}

}  // namespace powerprobe
