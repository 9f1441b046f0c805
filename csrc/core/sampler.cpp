// SPDX-License-Identifier: MIT
#include "core/sampler.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/futex.hpp"
#include "core/pacer.hpp"
#include "core/relay.hpp"
#include "core/relay_pacer.hpp"
#include "core/slow_pacer.hpp"
#include "core/stamp.hpp"
#include "core/within.hpp"

namespace powerprobe {
namespace {

// Well below the shortest time in which perf's signed 32-bit difference can go wrong: 32768 J at a 2^-16 J unit last 33 s at
// 1 kW (two sources of the fact: the driver's code and a run over emulated registers).
constexpr std::int64_t kKeepAliveNs = 4'000'000'000;

// While something is measured, looks are so far apart: this part of the time that it has lasted, but no less than that.
constexpr std::int64_t kLookShare = 32;
constexpr std::int64_t kLookNs = 1'000'000;

// A relay asks for so long at a time while it is not known for how long it will be: some of its pacer's looks, so that the other
// process goes on meanwhile.
constexpr std::int64_t kAskAheadNs = 100'000'000;

// A mark whose edge has not come by then never will: the counter cannot be read.
constexpr std::int64_t kGiveUpNs = 1'000'000'000;

// Of a source that can hang: the first reading of all, and how long a later one may hang until its channels end.
constexpr auto kFirstReading = std::chrono::seconds(2);
constexpr std::int64_t kGoneNs = 5'000'000'000;

std::size_t bucket(std::int64_t ns) noexcept {
  return ns <= 1 ? 0 : std::min<std::size_t>(kHistogramSize - 1, std::bit_width(static_cast<std::uint64_t>(ns)) - 1);
}

// What may hang is dear to read as well, and steps rarely.
std::unique_ptr<Pacing> pacing(const Call& call, const SamplerOptions& options) {
  if (call.is_relay()) return std::make_unique<RelayPacer>(call.channels());
  if (call.may_hang()) return std::make_unique<SlowPacer>(call.channels(), options.budget);
  return std::make_unique<Pacer>(call.channels(), options.budget, options.period_ns);
}

}  // namespace

Sampler::Sampler(std::unique_ptr<Source> source, std::size_t first_channel, const SamplerOptions& options,
                 std::shared_ptr<Runner> runner)
    : call_(std::make_shared<Call>(std::move(source))),
      runner_(std::move(runner)),
      first_channel_(first_channel),
      sights_(call_->channels().size()),
      read_clocks_(call_->channels().size(), StampMap(1.0, 0)),
      pacer_(pacing(*call_, options)),
      mode_(call_->is_relay() ? Mode::kTrack : options.mode),  // how the counters are looked at is the other process's affair
      period_ns_(options.period_ns) {
  if (channels().empty()) throw Error(ErrorKind::kBadArgument, "a source without channels cannot be sampled");
  for (const ChannelInfo& channel : channels()) {
    if (channel.stale_ns < 0 || channel.stale_ns > kLongestNs) {
      throw Error(ErrorKind::kBadArgument, "stale_ns of " + channel.name + " must be 0 to 2 s: edges cannot hold a longer gap");
    }
    if (channel.provenance == Provenance::kIntegrated && channel.update_period_ns > 0 && !call_->is_relay()) {
      const std::int64_t before_ns = integration_ns_ > 0 ? integration_ns_ : INT64_MAX;
      integration_ns_ = std::min(before_ns, channel.update_period_ns);
    }
    recorders_.push_back(std::make_unique<Recorder>(channel, options.capacity));
    if (options.lock_memory) recorders_.back()->ring()->lock_memory();
  }
  follow_guides();
  read_first();
  runner_->adopt(this, call_, options.realtime);
}

// On the caller's thread, or where that might never come back beside it.
void Sampler::read_first() {
  const std::int64_t begin_ns = now_ns();
  const ChannelInfo& channel = channels().front();
  if (!call_->may_hang()) {
    (void)call_->read(begin_ns);
  } else if (!run_within(kFirstReading, [call = call_, begin_ns] { return call->read(begin_ns); })) {
    throw Error(ErrorKind::kUnavailable, channel.source + " did not answer within 2 s when " + channel.name + " was read",
                channel.path, ETIMEDOUT, "look with the vendor's own tools whether the device still works");
  }
  const std::int64_t end_ns = now_ns();
  take_all(begin_ns, end_ns, false, INT64_MAX);
  polls_.add();
  read_ns_[bucket(end_ns - begin_ns)].add();
  const auto& readings = call_->readings();
  const bool any = std::any_of(readings.begin(), readings.end(), [](const Reading& r) {
    return r.status == ReadStatus::kOk || r.status == ReadStatus::kNoNews;
  });
  if (any) return;
  const int error = readings.front().error;
  throw Error(ErrorKind::kUnavailable,
              "no channel of " + channel.source + " could be read: " + std::generic_category().message(error), channel.path, error);
}

void Sampler::follow_guides() {
  for (std::size_t i = 0; i < channels().size(); ++i) {
    const ChannelInfo& channel = channels()[i];
    if (channel.guide < 0) continue;
    const auto guide = static_cast<std::size_t>(channel.guide);
    if (guide >= channels().size() || guide == i) {
      throw Error(ErrorKind::kBadArgument, "guide of " + channel.name + " must be the index of another channel of its source");
    }
    recorders_[i]->follow(*recorders_[guide]);
  }
}

Sampler::~Sampler() {
  stop();
  for (PendingMark* node = inbox_.exchange(nullptr, std::memory_order_acquire); node != nullptr;) {  // inbox
    delete std::exchange(node, node->next);
  }
  while (pending_ != nullptr) delete std::exchange(pending_, pending_->next);
}

void Sampler::ask() noexcept {
  if (askers_.fetch_add(1, std::memory_order_seq_cst) == 0) runner_->wake();  // ask, step
}

void Sampler::release() noexcept { askers_.fetch_sub(1, std::memory_order_relaxed); }  // noticed at the next poll

void Sampler::ask_until(std::int64_t t_ns) noexcept {
  std::int64_t before = asked_until_.load(std::memory_order_relaxed);
  while (before < t_ns && !asked_until_.compare_exchange_weak(before, t_ns, std::memory_order_seq_cst)) {  // asleep, step
  }
  runner_->wake_if_asleep(now_ns() + kSoonNs);
}

void Sampler::watch(std::int64_t since_ns) noexcept {
  watched_since_ns_.store(since_ns, std::memory_order_relaxed);
  watchers_.fetch_add(1, std::memory_order_relaxed);
}

void Sampler::unwatch() noexcept { watchers_.fetch_sub(1, std::memory_order_relaxed); }

// When to look next while nobody asks.
std::int64_t Sampler::look_ns() const noexcept {
  // A device that is read over a library of its own has counters that never wrap, and reading would keep it awake for nothing.
  const bool is_watched = watchers_.load(std::memory_order_relaxed) > 0;
  if (!is_watched) return call_->may_hang() ? INT64_MAX : turn_.polled_ns + kKeepAliveNs;
  if (integration_ns_ > 0) return turn_.polled_ns + integration_ns_;  // what is not read is not in the sum
  const std::int64_t lasted_ns = turn_.polled_ns - watched_since_ns_.load(std::memory_order_relaxed);
  return turn_.polled_ns + std::clamp(lasted_ns / kLookShare, kLookNs, kKeepAliveNs);
}

void Sampler::set_mode(Mode mode, std::int64_t period_ns) noexcept {
  if (call_->is_relay()) return;
  mode_.store(mode, std::memory_order_relaxed);  // ordered by wake(): ask
  period_ns_.store(period_ns, std::memory_order_relaxed);
  runner_->wake();
}

void Sampler::wait_in_step(std::int64_t deadline_ns) noexcept {
  waiting_.fetch_add(1, std::memory_order_seq_cst);  // announced before in_step_ is looked at; say_in_step() does the opposite
  while (in_step_.load(std::memory_order_seq_cst) == 0 && now_ns() < deadline_ns) {  // fresh, step
    futex_wait(in_step_, 0, deadline_ns);
  }
  waiting_.fetch_sub(1, std::memory_order_relaxed);
}

void Sampler::say_in_step() noexcept {
  if (in_step_.load(std::memory_order_relaxed) != 0) return;  // own word
  in_step_.store(1, std::memory_order_seq_cst);  // fresh
  if (waiting_.load(std::memory_order_seq_cst) > 0) futex_wake(in_step_);
}

void Sampler::add(std::shared_ptr<Mark> mark) {
  const std::int64_t t_ns = mark->t_ns();
  auto* const node = new PendingMark{std::move(mark), inbox_.load(std::memory_order_relaxed)};
  while (!inbox_.compare_exchange_weak(node->next, node, std::memory_order_seq_cst, std::memory_order_relaxed)) {  // inbox
  }
  runner_->wake_if_asleep(t_ns + kSoonNs);
  runner_->unless_running([this] { fill_marks(now_ns(), true); });  // late
}

bool Sampler::is_asked_for(std::int64_t now) const noexcept {
  return askers_.load(std::memory_order_seq_cst) > 0 || asked_until_.load(std::memory_order_seq_cst) > now ||  // asleep, step
         runner_->is_asked_by_child(now) || pending_ != nullptr;
}

// Until when a relay's other process is to look for steps: for as long as it is known that somebody here asks, or for the next while.
std::int64_t Sampler::asked_until_ns(std::int64_t now) const noexcept {
  const bool is_open = askers_.load(std::memory_order_relaxed) > 0 || runner_->is_asked_by_child(now) || pending_ != nullptr;
  return std::max(asked_until_.load(std::memory_order_relaxed), is_open ? now + kAskAheadNs : 0);
}

// Nobody asks any more. False: somebody does after all.
bool Sampler::go_quiet(std::int64_t now) noexcept {
  const std::uint32_t was_in_step = in_step_.exchange(0, std::memory_order_seq_cst);  // step
  if (!is_asked_for(now)) return true;
  if (was_in_step != 0) say_in_step();
  return false;
}

bool Sampler::has_company() const noexcept {
  return inbox_.load(std::memory_order_seq_cst) != nullptr || (!turn_.is_active && is_asked_for(now_ns()));  // asleep
}

void Sampler::begin() noexcept {
  turn_ = {.mode = mode_.load(std::memory_order_relaxed), .period_ns = period_ns_.load(std::memory_order_relaxed)};
  turn_.polled_ns = now_ns();
  for (auto& recorder : recorders_) recorder->say_written(true);
}

void Sampler::settle() noexcept {
  for (auto& recorder : recorders_) recorder->say_written(false);
  in_step_.store(0, std::memory_order_seq_cst);  // whoever comes after the next start() waits for that
  fill_marks(now_ns(), true);
}

std::int64_t Sampler::step(std::int64_t early_ns) noexcept {
  const bool has_new_marks = take_inbox();
  const std::int64_t now = now_ns();
  const bool was_active = turn_.is_active;
  turn_.is_active = is_asked_for(now) || (was_active && !go_quiet(now));
  if (turn_.is_active) {
    if (!was_active) {
      turn_.due_ns = now;
      pacer_->activate(now);
    } else if (has_new_marks && turn_.mode == Mode::kTrack && turn_.due_ns > now) {
      turn_.due_ns = has_ended_ ? now : pacer_->hurry(now);
    }
    follow_mode(now);
  }
  const std::int64_t due_ns = turn_.is_active ? turn_.due_ns : look_ns();
  if (due_ns - now > early_ns) return due_ns;
  return turn(now) ? kAtOnce : kLeftBehind;
}

void Sampler::follow_mode(std::int64_t now) noexcept {
  const Mode mode = mode_.load(std::memory_order_relaxed);  // ordered by the runner's wake_: ask
  const std::int64_t period_ns = period_ns_.load(std::memory_order_relaxed);
  if (mode == turn_.mode && period_ns == turn_.period_ns) return;
  turn_.mode = mode;
  turn_.period_ns = period_ns;
  turn_.due_ns = now;
  if (mode == Mode::kTrack) pacer_->activate(now);
}

// False: this thread was left behind.
bool Sampler::turn(std::int64_t now) noexcept {
  turn_.polled_ns = now;
  if (turn_.is_active && call_->is_relay()) call_->ask_until(asked_until_ns(now));
  if (!turn_.is_active) return poll(now, false, INT64_MAX) != kLeftBehind;
  std::int64_t missed = 0;
  if (turn_.mode != Mode::kSpin) wakeup_ns_[bucket(now - turn_.due_ns)].add();
  if (turn_.mode == Mode::kPoll) {
    missed = std::max<std::int64_t>(now - turn_.due_ns, 0) / turn_.period_ns;
    if (missed > 0) missed_ticks_.add(static_cast<std::uint64_t>(missed));
    turn_.due_ns += (missed + 1) * turn_.period_ns;
  }
  const std::int64_t after = poll(now, missed > 0, turn_.mode == Mode::kTrack ? pacer_->tight_ns() : INT64_MAX);
  if (after == kLeftBehind) return false;
  if (turn_.mode == Mode::kTrack) {
    turn_.due_ns = pacer_->polled(now, after, sights_);
    if (turn_.due_ns == Pacing::kPlan) turn_.due_ns = pacer_->plan(after, charge(), pending_ != nullptr);
    if (has_ended_) turn_.due_ns = after + kKeepAliveNs;
    if (!pacer_->is_in_step()) return true;
  }
  say_in_step();
  return true;
}

// CPU time in this sampler's turns so far. What its thread used since any of its samplers asked is the turn's.
std::int64_t Sampler::charge() noexcept {
  charged_ns_ += runner_->charge();
  cpu_ns_.set(static_cast<std::uint64_t>(charged_ns_));
  return charged_ns_;
}

// Returns the end of it, or kLeftBehind.
std::int64_t Sampler::poll(std::int64_t begin_ns, bool late, std::int64_t tight_ns) noexcept {
  std::int64_t end_ns = begin_ns;
  if (const std::int64_t since_ns = call_->hanging_since_ns(); since_ns != 0) {
    take_nothing(since_ns, begin_ns);
  } else if (!has_ended_) {
    if (!call_->read(begin_ns)) return kLeftBehind;
    end_ns = now_ns();
    take_all(begin_ns, end_ns, late, tight_ns);
    read_ns_[bucket(end_ns - begin_ns)].add();
  }
  polls_.add();
  if (pending_ != nullptr) fill_marks(end_ns, false);
  return end_ns;
}

void Sampler::take_all(std::int64_t begin_ns, std::int64_t end_ns, bool late, std::int64_t tight_ns) noexcept {
  for (Sight& sight : sights_) sight = {};
  take(begin_ns, end_ns, late, tight_ns);
  while (call_->has_more()) {
    call_->read_more();
    take(begin_ns, end_ns, late, tight_ns);
  }
  has_ended_ = std::all_of(sights_.begin(), sights_.end(), [](const Sight& sight) { return sight.ended; });
}

void Sampler::take(std::int64_t begin_ns, std::int64_t end_ns, bool late, std::int64_t tight_ns) noexcept {
  // A thread that is held up on its way out of the system call must not blur when the counter was read. Counters that were read
  // together share their clock.
  std::int64_t first_ns = begin_ns;
  std::int64_t last_ns = end_ns;
  std::uint64_t clock_ns = 0;
  for (std::size_t i = 0; i < recorders_.size(); ++i) {
    const Reading& reading = call_->readings()[i];
    if (reading.clock_ns != clock_ns && reading.status == ReadStatus::kOk) {
      clock_ns = reading.clock_ns;
      const StampMap::Located located = read_clocks_[i].locate(clock_ns, begin_ns, end_ns);
      last_ns = located.t_ns;
      first_ns = located.t_ns - located.gap_ns;
    }
    const Sight sight = recorders_[i]->take(reading, first_ns, last_ns, late, tight_ns);
    if (reading.status != ReadStatus::kNoNews) sights_[i] = sight;
  }
}

// While a thread that was left behind still hangs in a reading since since_ns.
void Sampler::take_nothing(std::int64_t since_ns, std::int64_t now) noexcept {
  const bool is_gone = now - since_ns > kGoneNs;
  const Reading reading{.status = is_gone ? ReadStatus::kGone : ReadStatus::kRetry, .error = ETIMEDOUT};
  for (std::size_t i = 0; i < recorders_.size(); ++i) sights_[i] = recorders_[i]->take(reading, now, now, false, INT64_MAX);
  has_ended_ |= is_gone;
}

// True: there were any.
bool Sampler::take_inbox() noexcept {
  if (inbox_.load(std::memory_order_relaxed) == nullptr) return false;
  for (PendingMark* node = inbox_.exchange(nullptr, std::memory_order_acquire); node != nullptr;) {  // inbox
    PendingMark* const next = node->next;
    node->next = std::exchange(pending_, node);
    node = next;
  }
  return true;
}

void Sampler::fill_marks(std::int64_t now, bool give_up) noexcept {
  (void)take_inbox();
  for (PendingMark** at = &pending_; *at != nullptr;) {
    PendingMark* const node = *at;
    if (!fill(*node->mark, give_up || now - node->mark->t_ns() > kGiveUpNs)) {
      at = &node->next;
      continue;
    }
    *at = node->next;
    delete node;
  }
}

bool Sampler::fill(Mark& mark, bool give_up) noexcept {
  bool complete = true;
  bool any = false;
  for (std::size_t i = 0; i < recorders_.size(); ++i) {
    Mark::Slot& slot = mark.slot(first_channel_ + i);
    if (slot.state != MarkState::kPending) continue;
    if (recorders_[i]->fill(slot, mark.t_ns(), give_up)) {
      mark.finish(first_channel_ + i);
      any = true;
    } else {
      complete = false;
    }
  }
  if (any) mark.wake();
  return complete;
}

namespace {

// The sampler of a parent process, asked by its child.
class ParentsSampler final : public Upstream {
 public:
  ParentsSampler(Runner& runner, std::shared_ptr<const Process> process) : runner_(runner), process_(std::move(process)) {}

  [[nodiscard]] bool is_there() noexcept override { return process_->is_there(); }
  void ask_until(std::int64_t t_ns) noexcept override { runner_.ask_from_child(t_ns); }

 private:
  Runner& runner_;
  std::shared_ptr<const Process> process_;
};

}  // namespace

std::unique_ptr<Source> Sampler::heir(std::shared_ptr<const Process> process) const {
  std::vector<ChannelInfo> channels = call_->channels();
  std::vector<RingReader> rings;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    channels[i].path += " (read by process " + std::to_string(process->pid()) + ")";
    channels[i].cpu = -1;
    channels[i].stamp_tick_ns = 0.0;
    rings.emplace_back(ring(i));
  }
  auto upstream = std::make_unique<ParentsSampler>(*runner_, std::move(process));
  return std::make_unique<Relay>(std::move(channels), std::move(rings), std::move(upstream));
}

SamplerStats Sampler::stats() const noexcept {
  SamplerStats stats;
  stats.polls = polls_.get();
  stats.missed_ticks = missed_ticks_.get();
  for (std::size_t i = 0; i < kHistogramSize; ++i) {
    stats.wakeup_ns[i] = wakeup_ns_[i].get();
    stats.read_ns[i] = read_ns_[i].get();
  }
  // Of several on one thread each has what it was charged with, and the first the rest.
  stats.cpu_ns = runner_->cpu_ns();
  if (is_forked_copy()) return stats;
  for (const Sampler* other : runner_->samplers()) {
    if (other == this) continue;
    if (this != runner_->samplers().front()) stats.cpu_ns = static_cast<std::int64_t>(cpu_ns_.get());
    else stats.cpu_ns -= static_cast<std::int64_t>(other->cpu_ns_.get());
  }
  return stats;
}

}  // namespace powerprobe
