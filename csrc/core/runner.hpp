// SPDX-License-Identifier: MIT
// The thread that samplers have their turns on: one for each sampler, or one for several whose sources are read by one thread
// together. If reading hangs there, the thread is left behind in it and the other samplers go on on a new one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/call.hpp"
#include "core/shared.hpp"

namespace powerprobe {

class Sampler;

// Who comes while the thread sleeps wakes it, unless it will wake up by itself sooner than this.
constexpr std::int64_t kSoonNs = 2'000'000;

// Started, stopped and woken on any thread.
//
//   ask     asker: what it asks for (sampler.hpp) or stop_, then Bell::wake (release)  ->  thread: wake.load(acquire)
//              it sees why it was woken
//   asleep  asker: what it asks for, then Bell::asleep_until_ns.load()
//              <->  thread: asleep_until_ns.store(), then what was asked for
//              sequentially consistent: who comes while the thread goes to sleep is seen, or sees that it has to wake it
//   late    asker: a mark into an inbox, then stop_.load()  <->  stop(): stop_.store(), then the inboxes after the join
//              sequentially consistent: a mark that comes too late for the thread is filled in by one of the two
class Runner {
 public:
  Runner();
  ~Runner() = default;  // the samplers have stopped it
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Before start(). The sampler must stop() this before it goes.
  void adopt(Sampler* sampler, std::shared_ptr<Call> call, bool realtime);

  // See Sampler.
  void start();
  void stop() noexcept;
  [[nodiscard]] bool is_forked_copy() const noexcept;

  // For the children of a fork, whose copy of this has the same bell: has all samplers ask until then. Takes no lock.
  void ask_from_child(std::int64_t t_ns) noexcept;
  [[nodiscard]] bool is_asked_by_child(std::int64_t now) const noexcept {
    return bell_->asked_until_ns.load(std::memory_order_seq_cst) > now;  // asleep
  }

  void wake() noexcept;
  void wake_if_asleep(std::int64_t beyond_ns) noexcept;

  // Calls `function` if there is no thread (any more), and there will be none meanwhile.
  template <typename Function>
  void unless_running(Function function) {
    if (!stop_.load(std::memory_order_seq_cst)) return;  // late
    const std::lock_guard lock(mutex_);
    if (!thread_) function();
  }

  // CPU time of the thread since it was last asked for; called on it.
  [[nodiscard]] std::int64_t charge() noexcept;

  // CPU time of the thread and of those before it. Any thread.
  [[nodiscard]] std::int64_t cpu_ns() const noexcept;
  [[nodiscard]] const std::vector<Sampler*>& samplers() const noexcept { return samplers_; }

 private:
  // What can be rung from the children of a fork as well.
  struct Bell {
    std::atomic<std::uint32_t> wake{0};             // ask; the word that the thread sleeps on
    std::atomic<std::int64_t> asleep_until_ns{0};   // asleep
    std::atomic<std::int64_t> asked_until_ns{0};    // asleep; by children
  };

  // What a thread shares with those that wait for its end; `is_over` pairs release with acquire.
  struct Shift {
    std::atomic<std::uint32_t> is_over{0};
  };

  void start_thread();
  void become_realtime();
  void settle_in() const noexcept;
  void run(Shift& shift) noexcept;
  void sleep_until(std::int64_t deadline, std::uint32_t seen) noexcept;
  void end_thread() noexcept;
  void end_watcher() noexcept;
  void watch() noexcept;
  void replace_thread() noexcept;
  [[nodiscard]] std::int64_t thread_ns() const noexcept;

  std::vector<Sampler*> samplers_;             // does not change once it runs
  std::vector<std::shared_ptr<Call>> calls_;   // theirs, in their order
  bool is_realtime_ = false;
  bool may_hang_ = false;
  std::int64_t charged_ns_ = 0;  // of the thread's CPU time; its own

  const int maker_pid_;  // whose threads it may have; a child's copy has the same rings, which it must never write
  Shared<Bell> bell_;
  std::atomic<bool> stop_{false};              // ask, late
  std::atomic<std::uint32_t> watch_over_{0};   // release by stop(), acquire by the watcher, which sleeps on it

  mutable std::mutex mutex_;  // guards what follows; never taken by the thread
  std::unique_ptr<std::thread> thread_;
  std::unique_ptr<std::thread> watcher_;
  std::shared_ptr<Shift> shift_;
  std::int64_t cpu_ns_before_ = 0;  // of threads that are over; each adds its own before stop() has joined it
};

}  // namespace powerprobe
