// SPDX-License-Identifier: MIT
#include "core/runner.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/futex.hpp"
#include "core/sampler.hpp"
#include "core/without_signals.hpp"

namespace powerprobe {
namespace {

// A reading that takes longer than this hangs. The slowest that were published of calls that come back are 5 ms (NVML's list of
// processes); a driver that powers a board up first takes longer.
constexpr std::int64_t kHangNs = 250'000'000;
constexpr std::int64_t kWatchNs = 100'000'000;  // how often somebody looks

// Several samplers on a thread: those that are due so soon after one another are served together.
constexpr std::int64_t kTogetherNs = 250'000;

// stop() waits so long for a reading that is under way.
constexpr std::int64_t kStopNs = 100'000'000;

// The lowest of the real-time priorities: before every ordinary thread, behind everything else that is in a hurry.
int hurry(std::thread& thread) noexcept {
  const sched_param parameters{.sched_priority = ::sched_get_priority_min(SCHED_FIFO)};
  return ::pthread_setschedparam(thread.native_handle(), SCHED_FIFO, &parameters);
}

}  // namespace

void Runner::adopt(Sampler* sampler, std::shared_ptr<Call> call, bool realtime) {
  is_realtime_ |= realtime;
  may_hang_ |= call->may_hang();
  samplers_.push_back(sampler);
  calls_.push_back(std::move(call));
}

Runner::Runner() : maker_pid_(::getpid()) {}

bool Runner::is_forked_copy() const noexcept { return maker_pid_ != ::getpid(); }

void Runner::start() {
  if (is_forked_copy()) {
    throw Error(ErrorKind::kUnavailable, "this probe was made by the parent process and does not run in a fork's child", {},
                0, "make a new one after the fork");
  }
  const std::lock_guard lock(mutex_);
  if (thread_) return;
  end_watcher();  // of a thread that could not be replaced
  stop_.store(false, std::memory_order_relaxed);
  watch_over_.store(0, std::memory_order_relaxed);
  for (Sampler* sampler : samplers_) sampler->begin();
  const WithoutSignals blocked;
  try {
    start_thread();
    if (may_hang_) watcher_ = std::make_unique<std::thread>([this] { watch(); });
  } catch (const std::system_error& error) {
    if (thread_) end_thread();
    throw Error(ErrorKind::kUnavailable, std::string("cannot start a sampler thread: ") + error.what(), {},
                error.code().value(), "raise the limit on threads (ulimit -u)");
  }
  if (is_realtime_) become_realtime();
}

// With mutex_ held.
void Runner::start_thread() {
  shift_ = std::make_shared<Shift>();
  // What the thread captures is kept for as long as it lives, which may be longer than this object does: a call that hangs has its
  // source and where it writes to.
  thread_ = std::make_unique<std::thread>([this, shift = shift_, calls = calls_] {
    (void)calls;
    run(*shift);
  });
}

// With mutex_ held.
void Runner::become_realtime() {
  const int error = hurry(*thread_);
  if (error == 0) return;
  end_thread();
  throw Error(ErrorKind::kPermission, "the sampler thread may not run under SCHED_FIFO: " + std::generic_category().message(error),
              {}, error, "give CAP_SYS_NICE, or a limit on real-time priorities of 1 or more (ulimit -r)");
}

void Runner::stop() noexcept {
  if (is_forked_copy()) {
    // There is no such thread here to join, and no way to say so to std::thread; nor may the mutex ever be free again.
    (void)thread_.release();
    (void)watcher_.release();
    return;
  }
  const std::lock_guard lock(mutex_);
  end_watcher();
  if (!thread_) return;
  end_thread();
  for (Sampler* sampler : samplers_) sampler->settle();  // late
}

// With mutex_ held.
void Runner::end_thread() noexcept {
  stop_.store(true, std::memory_order_seq_cst);  // ask, late
  wake();
  end_watcher();
  const std::int64_t deadline_ns = now_ns() + kStopNs;
  bool is_left = false;
  while (may_hang_ && !is_left && shift_->is_over.load(std::memory_order_acquire) == 0) {
    const std::int64_t now = now_ns();
    for (const auto& call : calls_) is_left |= now >= deadline_ns && call->leave(now);
    if (!is_left) futex_wait(shift_->is_over, 0, std::max(deadline_ns, now + kStopNs / 10));
  }
  if (is_left) {
    cpu_ns_before_ += thread_ns();
    thread_->detach();
  } else {
    thread_->join();
  }
  thread_.reset();
}

// With mutex_ held, which the watcher takes only if it is free.
void Runner::end_watcher() noexcept {
  if (!watcher_) return;
  watch_over_.store(1, std::memory_order_release);
  futex_wake(watch_over_);
  watcher_->join();
  watcher_.reset();
}

void Runner::wake() noexcept {
  bell_->wake.fetch_add(1, std::memory_order_release);  // ask
  futex_wake(bell_->wake, Sleepers::kProcesses);
}

void Runner::wake_if_asleep(std::int64_t beyond_ns) noexcept {
  if (bell_->asleep_until_ns.load(std::memory_order_seq_cst) > beyond_ns) wake();  // asleep
}

void Runner::ask_from_child(std::int64_t t_ns) noexcept {
  std::atomic<std::int64_t>& asked = bell_->asked_until_ns;
  std::int64_t before = asked.load(std::memory_order_relaxed);
  while (before < t_ns && !asked.compare_exchange_weak(before, t_ns, std::memory_order_seq_cst)) {  // asleep
  }
  wake_if_asleep(now_ns() + kSoonNs);
}

// What the thread is to itself.
void Runner::settle_in() const noexcept {
  const ChannelInfo& channel = calls_.front()->channels().front();
  const std::string name = "pp-" + channel.source;
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
  // The kernel lets timers of ordinary threads be 50 us late so that it can put them together.
  ::prctl(PR_SET_TIMERSLACK, 1);
  if (channel.cpu >= 0) {
    // Reading from another CPU costs an interrupt there (measured 9 to 18 us against 0.8). Where it is not allowed (a cpuset),
    // reading from afar still works.
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(channel.cpu), &set);
    ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
  }
}

void Runner::run(Shift& shift) noexcept {
  settle_in();
  charged_ns_ = 0;
  bool has_slept = true;
  while (true) {
    const std::uint32_t seen = bell_->wake.load(std::memory_order_acquire);  // ask
    std::int64_t deadline = INT64_MAX;
    // Awake for one, it looks for those as well whose time would come right after: waking up costs more than a look.
    const std::int64_t early_ns = has_slept ? 0 : kTogetherNs;
    has_slept = false;
    for (Sampler* sampler : samplers_) {
      if (stop_.load(std::memory_order_relaxed)) break;  // looked at again below
      const std::int64_t due = sampler->step(samplers_.size() > 1 ? early_ns : 0);
      if (due == Sampler::kLeftBehind) return;  // nothing of this object is this thread's any more
      deadline = std::min(deadline, due);
    }
    if (stop_.load(std::memory_order_acquire)) break;  // ask
    if (deadline != Sampler::kAtOnce && now_ns() < deadline) {
      sleep_until(deadline, seen);
      has_slept = true;
    }
  }
  cpu_ns_before_ += thread_cpu_ns();  // who stops it holds the mutex meanwhile and joins
  shift.is_over.store(1, std::memory_order_release);
  futex_wake(shift.is_over);
}

void Runner::sleep_until(std::int64_t deadline, std::uint32_t seen) noexcept {
  bell_->asleep_until_ns.store(deadline, std::memory_order_seq_cst);  // asleep
  const bool has_company = std::any_of(samplers_.begin(), samplers_.end(), [](const Sampler* each) { return each->has_company(); });
  if (!has_company) futex_wait(bell_->wake, seen, deadline, Sleepers::kProcesses);
  bell_->asleep_until_ns.store(0, std::memory_order_relaxed);
}

void Runner::watch() noexcept {
  ::pthread_setname_np(::pthread_self(), "pp-watch");
  while (true) {
    futex_wait(watch_over_, 0, now_ns() + kWatchNs);
    if (watch_over_.load(std::memory_order_acquire) != 0) return;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) continue;  // somebody starts, stops or asks what it cost
    const std::int64_t then_ns = now_ns() - kHangNs;
    if (std::any_of(calls_.begin(), calls_.end(), [&](const auto& call) { return call->leave(then_ns); })) replace_thread();
  }
}

// With mutex_ held; the thread has been left behind.
void Runner::replace_thread() noexcept {
  cpu_ns_before_ += thread_ns();
  thread_->detach();
  thread_.reset();
  try {
    start_thread();
    if (is_realtime_) (void)hurry(*thread_);  // it was allowed before
  } catch (const std::system_error&) {  // no more threads: as if it was stopped
    stop_.store(true, std::memory_order_seq_cst);  // late
    for (Sampler* sampler : samplers_) sampler->settle();
  }
}

std::int64_t Runner::charge() noexcept {
  const std::int64_t cpu_ns = thread_cpu_ns();
  return cpu_ns - std::exchange(charged_ns_, cpu_ns);
}

// With mutex_ held.
std::int64_t Runner::thread_ns() const noexcept {
  clockid_t clock;
  timespec t;
  if (!thread_ || ::pthread_getcpuclockid(thread_->native_handle(), &clock) != 0 || ::clock_gettime(clock, &t) != 0) return 0;
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

std::int64_t Runner::cpu_ns() const noexcept {
  if (is_forked_copy()) return 0;
  const std::lock_guard lock(mutex_);
  return cpu_ns_before_ + thread_ns();
}

}  // namespace powerprobe
