// SPDX-License-Identifier: MIT
#include "core/sampler.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <string>
#include <system_error>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/futex.hpp"

namespace powerprobe {
namespace {

// Well below the shortest time in which perf's signed 32-bit difference can go wrong: 32768 J at a 2^-16 J unit last 33 s at
// 1 kW (two sources of the fact: the driver's code and a run over emulated registers).
constexpr std::int64_t kKeepAliveNs = 4'000'000'000;

// A mark whose edge has not come by then never will: the counter cannot be read.
constexpr std::int64_t kGiveUpNs = 1'000'000'000;

std::size_t bucket(std::int64_t ns) noexcept {
  return ns <= 1 ? 0 : std::min<std::size_t>(kHistogramSize - 1, std::bit_width(static_cast<std::uint64_t>(ns)) - 1);
}

}  // namespace

Sampler::Sampler(std::unique_ptr<Source> source, std::size_t first_channel, const SamplerOptions& options)
    : source_(std::move(source)),
      first_channel_(first_channel),
      period_ns_(options.period_ns),
      readings_(source_->channels().size()) {
  if (source_->channels().empty()) throw Error(ErrorKind::kBadArgument, "a source without channels cannot be sampled");
  for (const ChannelInfo& channel : source_->channels()) {
    if (channel.stale_ns < 0 || channel.stale_ns > kLongestNs) {
      throw Error(ErrorKind::kBadArgument, "stale_ns of " + channel.name + " must be 0 to 2 s: edges cannot hold a longer gap");
    }
    recorders_.push_back(std::make_unique<Recorder>(channel, options.capacity));
  }
  poll(now_ns(), false);
  const bool any = std::any_of(readings_.begin(), readings_.end(), [](const Reading& r) { return r.status == ReadStatus::kOk; });
  if (!any) {
    const int error = readings_.front().error;
    const ChannelInfo& channel = source_->channels().front();
    throw Error(ErrorKind::kUnavailable,
                "no channel of " + channel.source + " could be read: " + std::generic_category().message(error), channel.path,
                error);
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
  fill_marks(now_ns(), true);  // what was added after the thread's last look: late
}

bool Sampler::ask() noexcept {
  const std::uint32_t next = next_poll();  // before the sampler is woken: it may be faster than the asker
  const bool was_quiet = askers_.fetch_add(1, std::memory_order_relaxed) == 0;  // ordered by wake(): ask
  if (was_quiet) {
    asked_poll_.store(next, std::memory_order_relaxed);
    wake();
  }
  return was_quiet;
}

void Sampler::release() noexcept { askers_.fetch_sub(1, std::memory_order_seq_cst); }  // quiet: pairs with add() and run()

void Sampler::wake() noexcept {
  wake_.fetch_add(1, std::memory_order_release);  // ask
  futex_wake(wake_);
}

void Sampler::wait_for_poll(std::uint32_t number, std::int64_t deadline_ns) noexcept {
  waiting_.fetch_add(1, std::memory_order_seq_cst);  // announced before finished_ is looked at; poll() does the opposite
  while (true) {
    const std::uint32_t finished = finished_.load(std::memory_order_seq_cst);  // fresh
    if (static_cast<std::int32_t>(finished - number) >= 0 || now_ns() >= deadline_ns) break;
    futex_wait(finished_, finished, deadline_ns);
  }
  waiting_.fetch_sub(1, std::memory_order_relaxed);
}

void Sampler::add(std::shared_ptr<Mark> mark) {
  auto* const node = new PendingMark{std::move(mark), inbox_.load(std::memory_order_relaxed)};
  while (!inbox_.compare_exchange_weak(node->next, node, std::memory_order_seq_cst, std::memory_order_relaxed)) {  // inbox
  }
  // A sampler that is asked polls anyway; one that has gone quiet sleeps for seconds. Quiet: this looks at askers_ after the
  // push, run() at inbox_ after askers_, so a mark is seen by one of the two.
  if (askers_.load(std::memory_order_seq_cst) == 0) wake();
  if (stop_.load(std::memory_order_seq_cst)) {  // late
    const std::lock_guard lock(thread_mutex_);
    if (!thread_) fill_marks(now_ns(), true);
  }
}

void Sampler::run() noexcept {
  const std::string name = "pp-" + source_->channels().front().source;
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
  if (const int cpu = source_->channels().front().cpu; cpu >= 0) {
    // Reading from another CPU costs an interrupt there (measured 9 to 18 us against 0.8). Where it is not allowed (a cpuset),
    // reading from afar still works.
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
  }
  std::int64_t last_poll_ns = now_ns();
  std::int64_t tick_ns = 0;
  bool was_active = false;
  while (true) {
    const std::uint32_t seen = wake_.load(std::memory_order_acquire);  // ask
    if (stop_.load(std::memory_order_relaxed)) break;
    const bool active = askers_.load(std::memory_order_seq_cst) > 0 || pending_ != nullptr ||  // ask, quiet
                        inbox_.load(std::memory_order_seq_cst) != nullptr;
    const std::int64_t now = now_ns();
    if (active && !was_active) tick_ns = now;
    was_active = active;
    const std::int64_t deadline = active ? tick_ns : last_poll_ns + kKeepAliveNs;
    if (now < deadline) {
      futex_wait(wake_, seen, deadline);
      continue;
    }
    std::int64_t missed = 0;
    if (active) {
      wakeup_ns_[bucket(now - deadline)].add();
      missed = (now - deadline) / period_ns_;
      if (missed > 0) missed_ticks_.add(static_cast<std::uint64_t>(missed));
      tick_ns += (missed + 1) * period_ns_;
    }
    poll(now, missed > 0);
    last_poll_ns = now;
  }
  fill_marks(now_ns(), true);
  cpu_ns_before_ += thread_cpu_ns();  // stop() holds the mutex meanwhile and joins
}

void Sampler::poll(std::int64_t before, bool late) noexcept {
  const std::uint32_t number = begun_.load(std::memory_order_relaxed) + 1;
  begun_.store(number, std::memory_order_relaxed);
  source_->read(readings_);
  const std::int64_t after = now_ns();
  for (std::size_t i = 0; i < recorders_.size(); ++i) recorders_[i]->take(readings_[i], before, after, late);
  polls_.add();
  read_ns_[bucket(after - before)].add();
  if (pending_ != nullptr || inbox_.load(std::memory_order_relaxed) != nullptr) fill_marks(after, false);
  finished_.store(number, std::memory_order_seq_cst);  // fresh
  if (waiting_.load(std::memory_order_seq_cst) > 0) futex_wake(finished_);
}

void Sampler::fill_marks(std::int64_t now, bool give_up) noexcept {
  for (PendingMark* node = inbox_.exchange(nullptr, std::memory_order_acquire); node != nullptr;) {  // inbox
    PendingMark* const next = node->next;
    node->next = std::exchange(pending_, node);
    node = next;
  }
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

ChannelStats Sampler::channel_stats(std::size_t channel) const noexcept { return recorders_[channel]->stats(); }

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
