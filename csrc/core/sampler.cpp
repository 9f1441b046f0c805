// SPDX-License-Identifier: MIT
#include "core/sampler.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <string>
#include <system_error>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/futex.hpp"
#include "core/stamp.hpp"

namespace powerprobe {
namespace {

// Well below the shortest time in which perf's signed 32-bit difference can go wrong: 32768 J at a 2^-16 J unit last 33 s at
// 1 kW (two sources of the fact: the driver's code and a run over emulated registers).
constexpr std::int64_t kKeepAliveNs = 4'000'000'000;

// While something is measured, looks are so far apart: this part of the time that it has lasted, but no less than that.
constexpr std::int64_t kLookShare = 32;
constexpr std::int64_t kLookNs = 1'000'000;

// Who comes while the sampler sleeps wakes it, unless it will wake up by itself sooner than this.
constexpr std::int64_t kSoonNs = 2'000'000;

// A mark whose edge has not come by then never will: the counter cannot be read.
constexpr std::int64_t kGiveUpNs = 1'000'000'000;

std::size_t bucket(std::int64_t ns) noexcept {
  return ns <= 1 ? 0 : std::min<std::size_t>(kHistogramSize - 1, std::bit_width(static_cast<std::uint64_t>(ns)) - 1);
}

}  // namespace

Sampler::Sampler(std::unique_ptr<Source> source, std::size_t first_channel, const SamplerOptions& options)
    : source_(std::move(source)),
      first_channel_(first_channel),
      is_realtime_(options.realtime),
      readings_(source_->channels().size()),
      sights_(source_->channels().size()),
      read_clocks_(source_->channels().size(), StampMap(1.0, 0)),
      pacer_(source_->channels(), options.budget, options.period_ns),
      mode_(options.mode),
      period_ns_(options.period_ns) {
  if (source_->channels().empty()) throw Error(ErrorKind::kBadArgument, "a source without channels cannot be sampled");
  for (const ChannelInfo& channel : source_->channels()) {
    if (channel.stale_ns < 0 || channel.stale_ns > kLongestNs) {
      throw Error(ErrorKind::kBadArgument, "stale_ns of " + channel.name + " must be 0 to 2 s: edges cannot hold a longer gap");
    }
    recorders_.push_back(std::make_unique<Recorder>(channel, options.capacity));
    if (options.lock_memory) recorders_.back()->ring()->lock_memory();
  }
  follow_guides();
  poll(now_ns(), false, INT64_MAX);
  const bool any = std::any_of(readings_.begin(), readings_.end(), [](const Reading& r) {
    return r.status == ReadStatus::kOk || r.status == ReadStatus::kNoNews;
  });
  if (!any) {
    const int error = readings_.front().error;
    const ChannelInfo& channel = source_->channels().front();
    throw Error(ErrorKind::kUnavailable,
                "no channel of " + channel.source + " could be read: " + std::generic_category().message(error), channel.path,
                error);
  }
}

void Sampler::follow_guides() {
  const std::vector<ChannelInfo>& channels = source_->channels();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (channels[i].guide < 0) continue;
    const auto guide = static_cast<std::size_t>(channels[i].guide);
    if (guide >= channels.size() || guide == i) {
      throw Error(ErrorKind::kBadArgument, "guide of " + channels[i].name + " must be the index of another channel of its source");
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

bool Sampler::is_forked_copy() const noexcept {
  const int owner = owner_pid_.load(std::memory_order_relaxed);
  return owner != 0 && owner != ::getpid();
}

void Sampler::start() {
  if (is_forked_copy()) {
    throw Error(ErrorKind::kUnavailable, "this probe was started by the parent process and does not run in a fork's child", {},
                0, "make a new one after the fork");
  }
  const std::lock_guard lock(thread_mutex_);
  if (thread_) return;
  // The thread must not take signals that are meant for the program (ctrl-C would wake it instead of the main thread).
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  stop_.store(false, std::memory_order_relaxed);
  owner_pid_.store(::getpid(), std::memory_order_relaxed);
  try {
    thread_ = std::make_unique<std::thread>([this] { run(); });
  } catch (const std::system_error& error) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw Error(ErrorKind::kUnavailable, std::string("cannot start a sampler thread: ") + error.what(), {},
                error.code().value(), "raise the limit on threads (ulimit -u)");
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (is_realtime_) become_realtime();
}

// With thread_mutex_ held.
void Sampler::become_realtime() {
  // The lowest of its priorities: before every ordinary thread, behind everything else that is in a hurry.
  const sched_param parameters{.sched_priority = ::sched_get_priority_min(SCHED_FIFO)};
  const int error = ::pthread_setschedparam(thread_->native_handle(), SCHED_FIFO, &parameters);
  if (error == 0) return;
  stop_.store(true, std::memory_order_seq_cst);  // ask; late
  wake();
  thread_->join();
  thread_.reset();
  throw Error(ErrorKind::kPermission, "the sampler thread may not run under SCHED_FIFO: " + std::generic_category().message(error),
              {}, error, "give CAP_SYS_NICE, or a limit on real-time priorities of 1 or more (ulimit -r)");
}

void Sampler::stop() noexcept {
  if (is_forked_copy()) {
    // There is no such thread here to join, and no way to say so to std::thread; nor may the mutex ever be free again.
    (void)thread_.release();
    return;
  }
  const std::lock_guard lock(thread_mutex_);
  if (!thread_) return;
  stop_.store(true, std::memory_order_seq_cst);  // ask; late
  wake();
  thread_->join();
  thread_.reset();
  fill_marks(now_ns(), true);  // late
}

void Sampler::ask() noexcept {
  if (askers_.fetch_add(1, std::memory_order_seq_cst) == 0) wake();  // ask, step
}

void Sampler::release() noexcept { askers_.fetch_sub(1, std::memory_order_relaxed); }  // noticed at the next poll

void Sampler::ask_until(std::int64_t t_ns) noexcept {
  std::int64_t before = asked_until_.load(std::memory_order_relaxed);
  while (before < t_ns && !asked_until_.compare_exchange_weak(before, t_ns, std::memory_order_seq_cst)) {  // asleep, step
  }
  wake_if_asleep(now_ns() + kSoonNs);
}

void Sampler::watch(std::int64_t since_ns) noexcept {
  watched_since_ns_.store(since_ns, std::memory_order_relaxed);
  watchers_.fetch_add(1, std::memory_order_relaxed);
}

void Sampler::unwatch() noexcept { watchers_.fetch_sub(1, std::memory_order_relaxed); }

std::int64_t Sampler::look_after_ns(std::int64_t polled_ns) const noexcept {
  if (watchers_.load(std::memory_order_relaxed) == 0) return kKeepAliveNs;
  const std::int64_t lasted_ns = polled_ns - watched_since_ns_.load(std::memory_order_relaxed);
  return std::clamp(lasted_ns / kLookShare, kLookNs, kKeepAliveNs);
}

void Sampler::set_mode(Mode mode, std::int64_t period_ns) noexcept {
  mode_.store(mode, std::memory_order_relaxed);  // ordered by wake(): ask
  period_ns_.store(period_ns, std::memory_order_relaxed);
  wake();
}

void Sampler::wake() noexcept {
  wake_.fetch_add(1, std::memory_order_release);  // ask
  futex_wake(wake_);
}

void Sampler::wake_if_asleep(std::int64_t beyond_ns) noexcept {
  if (asleep_until_.load(std::memory_order_seq_cst) > beyond_ns) wake();  // asleep
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
  wake_if_asleep(t_ns + kSoonNs);
  if (stop_.load(std::memory_order_seq_cst)) {  // late
    const std::lock_guard lock(thread_mutex_);
    if (!thread_) fill_marks(now_ns(), true);
  }
}

// What the thread is to itself.
void Sampler::settle_in() noexcept {
  const std::string name = "pp-" + source_->channels().front().source;
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
  // The kernel lets timers of ordinary threads be 50 us late so that it can put them together.
  ::prctl(PR_SET_TIMERSLACK, 1);
  if (const int cpu = source_->channels().front().cpu; cpu >= 0) {
    // Reading from another CPU costs an interrupt there (measured 9 to 18 us against 0.8). Where it is not allowed (a cpuset),
    // reading from afar still works.
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
  }
}

bool Sampler::is_asked_for(std::int64_t now) const noexcept {
  return askers_.load(std::memory_order_seq_cst) > 0 || asked_until_.load(std::memory_order_seq_cst) > now ||  // asleep, step
         pending_ != nullptr;
}

// Nobody asks any more. False: somebody does after all.
bool Sampler::go_quiet(std::int64_t now) noexcept {
  const std::uint32_t was_in_step = in_step_.exchange(0, std::memory_order_seq_cst);  // step
  if (!is_asked_for(now)) return true;
  if (was_in_step != 0) say_in_step();
  return false;
}

void Sampler::run() noexcept {
  settle_in();
  Turn state{.mode = mode_.load(std::memory_order_relaxed), .period_ns = period_ns_.load(std::memory_order_relaxed)};
  state.polled_ns = now_ns();
  while (true) {
    const std::uint32_t seen = wake_.load(std::memory_order_acquire);  // ask
    if (stop_.load(std::memory_order_relaxed)) break;
    const bool has_new_marks = take_inbox();
    const std::int64_t now = now_ns();
    const bool was_active = state.is_active;
    state.is_active = is_asked_for(now) || (was_active && !go_quiet(now));
    if (state.is_active) {
      if (!was_active) {
        state.due_ns = now;
        pacer_.activate(now);
      } else if (has_new_marks && state.mode == Mode::kTrack && state.due_ns > now) {
        state.due_ns = pacer_.hurry(now);
      }
      follow_mode(state, now);
    }
    const std::int64_t deadline = state.is_active ? state.due_ns : state.polled_ns + look_after_ns(state.polled_ns);
    if (now < deadline) {
      sleep_until(deadline, seen, !state.is_active);
    } else {
      turn(state, now);
    }
  }
  in_step_.store(0, std::memory_order_seq_cst);  // whoever comes after the next start() waits for that
  cpu_ns_before_ += thread_cpu_ns();  // stop() holds the mutex meanwhile and joins
}

void Sampler::follow_mode(Turn& turn, std::int64_t now) noexcept {
  const Mode mode = mode_.load(std::memory_order_relaxed);  // ordered by wake_: ask
  const std::int64_t period_ns = period_ns_.load(std::memory_order_relaxed);
  if (mode == turn.mode && period_ns == turn.period_ns) return;
  turn.mode = mode;
  turn.period_ns = period_ns;
  turn.due_ns = now;
  if (mode == Mode::kTrack) pacer_.activate(now);
}

void Sampler::sleep_until(std::int64_t deadline, std::uint32_t seen, bool is_quiet) noexcept {
  asleep_until_.store(deadline, std::memory_order_seq_cst);  // asleep
  const bool has_company = inbox_.load(std::memory_order_seq_cst) != nullptr || (is_quiet && is_asked_for(now_ns()));
  if (!has_company) futex_wait(wake_, seen, deadline);
  asleep_until_.store(0, std::memory_order_relaxed);
}

void Sampler::turn(Turn& turn, std::int64_t now) noexcept {
  turn.polled_ns = now;
  if (!turn.is_active) {
    poll(now, false, INT64_MAX);
    return;
  }
  std::int64_t missed = 0;
  if (turn.mode != Mode::kSpin) wakeup_ns_[bucket(now - turn.due_ns)].add();
  if (turn.mode == Mode::kPoll) {
    missed = (now - turn.due_ns) / turn.period_ns;
    if (missed > 0) missed_ticks_.add(static_cast<std::uint64_t>(missed));
    turn.due_ns += (missed + 1) * turn.period_ns;
  }
  const std::int64_t after = poll(now, missed > 0, turn.mode == Mode::kTrack ? pacer_.tight_ns() : INT64_MAX);
  if (turn.mode == Mode::kTrack) {
    turn.due_ns = pacer_.polled(now, after, sights_);
    if (turn.due_ns == Pacer::kPlan) turn.due_ns = pacer_.plan(after, thread_cpu_ns(), pending_ != nullptr);
    if (!pacer_.is_in_step()) return;
  }
  say_in_step();
}

std::int64_t Sampler::poll(std::int64_t begin_ns, bool late, std::int64_t tight_ns) noexcept {
  source_->read(readings_);
  const std::int64_t end_ns = now_ns();
  // A thread that is held up on its way out of the system call must not blur when the counter was read. Counters that were read
  // together share their clock.
  std::int64_t first_ns = begin_ns;
  std::int64_t last_ns = end_ns;
  std::uint64_t clock_ns = 0;
  for (std::size_t i = 0; i < recorders_.size(); ++i) {
    if (readings_[i].clock_ns != clock_ns && readings_[i].status == ReadStatus::kOk) {
      clock_ns = readings_[i].clock_ns;
      const StampMap::Located located = read_clocks_[i].locate(clock_ns, begin_ns, end_ns);
      last_ns = located.t_ns;
      first_ns = located.t_ns - located.gap_ns;
    }
    sights_[i] = recorders_[i]->take(readings_[i], first_ns, last_ns, late, tight_ns);
  }
  polls_.add();
  read_ns_[bucket(end_ns - begin_ns)].add();
  if (pending_ != nullptr) fill_marks(end_ns, false);
  return end_ns;
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
    node->mark->finish_one();
    delete node;
  }
}

bool Sampler::fill(Mark& mark, bool give_up) noexcept {
  bool complete = true;
  for (std::size_t i = 0; i < recorders_.size(); ++i) {
    Mark::Slot& slot = mark.slot(first_channel_ + i);
    if (slot.state == MarkState::kPending && !recorders_[i]->fill(slot, mark.t_ns(), give_up)) complete = false;
  }
  return complete;
}

SamplerStats Sampler::stats() const noexcept {
  SamplerStats stats;
  stats.polls = polls_.get();
  stats.missed_ticks = missed_ticks_.get();
  for (std::size_t i = 0; i < kHistogramSize; ++i) {
    stats.wakeup_ns[i] = wakeup_ns_[i].get();
    stats.read_ns[i] = read_ns_[i].get();
  }
  if (is_forked_copy()) return stats;
  const std::lock_guard lock(thread_mutex_);
  stats.cpu_ns = cpu_ns_before_;
  clockid_t clock;
  timespec t;
  if (thread_ && ::pthread_getcpuclockid(thread_->native_handle(), &clock) == 0 && ::clock_gettime(clock, &t) == 0) {
    stats.cpu_ns += static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
  }
  return stats;
}

}  // namespace powerprobe
