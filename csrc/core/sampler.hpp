// SPDX-License-Identifier: MIT
// One native thread that reads one source and writes its channels' rings. While somebody asks it looks at the counters as its mode
// says, else just often enough that none can wrap unseen.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/count.hpp"
#include "core/mark.hpp"
#include "core/pacer.hpp"
#include "core/recorder.hpp"
#include "core/ring.hpp"
#include "core/source.hpp"
#include "core/stamp.hpp"

namespace powerprobe {

enum class Mode : std::uint8_t {
  kTrack,  // sleeps until shortly before the next expected step and polls until it comes
  kPoll,   // at a fixed rate
  kSpin,   // without sleeping: for short bursts, on a core of its own
};

struct SamplerOptions {
  Mode mode = Mode::kTrack;
  std::int64_t period_ns = 1'000'000;  // between two polls in kPoll; in kTrack of an estimate, which has no steps
  std::size_t capacity = 1 << 16;      // edges kept per channel, at least
  double budget = 0.07;                // share of one core that kTrack may take
  bool realtime = false;               // run under SCHED_FIFO
  bool lock_memory = false;            // keep the rings in memory
};

// Bucket i counts values in [2^i, 2^(i+1)) ns; the first also 0 and the last all that is longer.
constexpr std::size_t kHistogramSize = 32;

struct SamplerStats {
  std::uint64_t polls = 0;
  std::uint64_t missed_ticks = 0;  // deadlines of the poll rate that passed before the thread ran
  std::int64_t cpu_ns = 0;         // of the sampler thread
  std::array<std::uint64_t, kHistogramSize> wakeup_ns{};  // how late the thread woke
  std::array<std::uint64_t, kHistogramSize> read_ns{};    // how long readings took
};

// Made, started, asked and stopped on any thread; owns its source and the one thread that reads it.
//
//   ask     asker: askers_, asked_until_, mode_, period_ns_, inbox_ or stop_, then wake_ (release)
//              ->  sampler: wake_.load(acquire)   it sees why it was woken
//   inbox   asker: inbox_ push (release)       ->  sampler: inbox_.exchange(acquire)   the mark in it is complete
//   asleep  asker: inbox_ push or asked_until_, then asleep_until_.load()
//              <->  sampler: asleep_until_.store(), then inbox_.load() and asked_until_.load()
//              sequentially consistent: who comes while the sampler goes to sleep is seen, or sees that it has to wake it
//   step    asker: askers_ or asked_until_, then in_step_.load()
//              <->  sampler going quiet: in_step_.store(0), then askers_.load() and asked_until_.load()
//              sequentially consistent: who is told that the sampler is in step is being served, and goes on being so
//   late    asker: inbox_ push, then stop_.load()  <->  stop(): stop_.store(), then inbox_.exchange() after the join
//              sequentially consistent: a mark that comes too late for the thread is filled in by one of the two
//   fresh   sampler: in_step_.store(1), then waiting_.load()  <->  asker: waiting_ up, then in_step_.load()
//              sequentially consistent: nobody sleeps through what it waits for; in_step_ also publishes the edges
class Sampler {
 public:
  // Takes the first reading, on the caller's thread, so that its errors reach the caller: throws Error when no channel can be
  // read. `first_channel` is the index of the source's first channel within the probe. Throws kPermission when the memory is to
  // be locked and may not be.
  Sampler(std::unique_ptr<Source> source, std::size_t first_channel, const SamplerOptions& options);

  // Stops. In the child of a fork, where the thread does not exist, it is left alone.
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Throws Error (kUnavailable) when there is no thread to be had, and in the child of a fork; kPermission when it was to run under
  // SCHED_FIFO and may not. May be called twice, and again after stop().
  void start();

  // Immediate; marks that are still pending or come later become kUnsettled. May be called twice, from any thread.
  void stop() noexcept;

  // Started by another process, of which this one is a fork: its thread is not here.
  [[nodiscard]] bool is_forked_copy() const noexcept;

  // While asked for, it looks as its mode says. Calls nest.
  void ask() noexcept;
  void release() noexcept;
  // The same until an instant, with nothing to give back.
  void ask_until(std::int64_t t_ns) noexcept;

  // While something that began at since_ns is being measured: also unasked it now and then looks at the counters, after each
  // thirty-second part of the time that this has lasted, so that what was used until its end is bounded from below. Calls nest;
  // the latest since_ns counts.
  void watch(std::int64_t since_ns) noexcept;
  void unwatch() noexcept;

  // Waits until the counters have been located since somebody asks (in kTrack; else until they have been read), or the deadline.
  void wait_in_step(std::int64_t deadline_ns) noexcept;

  // Takes effect at once.
  void set_mode(Mode mode, std::int64_t period_ns) noexcept;

  // The sampler fills in its channels' slots. Never blocks while the sampler runs.
  void add(std::shared_ptr<Mark> mark);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return source_->channels(); }
  [[nodiscard]] const std::shared_ptr<Ring>& ring(std::size_t channel) const noexcept { return recorders_[channel]->ring(); }
  [[nodiscard]] const Recorder& recorder(std::size_t channel) const noexcept { return *recorders_[channel]; }
  [[nodiscard]] ChannelStats channel_stats(std::size_t channel) const noexcept { return recorders_[channel]->stats(); }
  [[nodiscard]] PaceStats pace_stats(std::size_t channel) const noexcept { return pacer_.stats(channel); }
  [[nodiscard]] SamplerStats stats() const noexcept;

 private:
  struct PendingMark {
    std::shared_ptr<Mark> mark;
    PendingMark* next = nullptr;
  };

  // Of the running thread.
  struct Turn {
    bool is_active = false;
    Mode mode = Mode::kTrack;
    std::int64_t period_ns = 0;
    std::int64_t due_ns = 0;  // the next poll, while active
    std::int64_t polled_ns = 0;
  };

  void follow_guides();
  void run() noexcept;
  void settle_in() noexcept;
  void become_realtime();
  [[nodiscard]] bool is_asked_for(std::int64_t now) const noexcept;
  [[nodiscard]] bool go_quiet(std::int64_t now) noexcept;
  [[nodiscard]] std::int64_t look_after_ns(std::int64_t polled_ns) const noexcept;
  void follow_mode(Turn& turn, std::int64_t now) noexcept;
  void sleep_until(std::int64_t deadline, std::uint32_t seen, bool is_quiet) noexcept;
  void turn(Turn& turn, std::int64_t now) noexcept;
  std::int64_t poll(std::int64_t begin_ns, bool late, std::int64_t tight_ns) noexcept;  // begin_ns: the clock, just now
  void say_in_step() noexcept;
  bool take_inbox() noexcept;
  void fill_marks(std::int64_t now, bool give_up) noexcept;
  bool fill(Mark& mark, bool give_up) noexcept;
  void wake() noexcept;
  void wake_if_asleep(std::int64_t beyond_ns) noexcept;

  std::unique_ptr<Source> source_;
  std::size_t first_channel_;
  bool is_realtime_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::vector<Reading> readings_;
  std::vector<Sight> sights_;  // what the last poll saw
  std::vector<StampMap> read_clocks_;  // by channel: of sources that say when they read it, on CLOCK_MONOTONIC
  Pacer pacer_;
  PendingMark* pending_ = nullptr;  // sampler thread; when there is none, who holds thread_mutex_

  std::atomic<PendingMark*> inbox_{nullptr};    // inbox, asleep
  std::atomic<std::uint32_t> askers_{0};        // ask, step
  std::atomic<std::int64_t> asked_until_{0};    // ask, asleep, step
  std::atomic<std::uint32_t> watchers_{0};      // relaxed: noticed when the sampler next goes to sleep; an ask goes before it
  std::atomic<std::int64_t> watched_since_ns_{0};  // the same
  std::atomic<Mode> mode_;                      // ask
  std::atomic<std::int64_t> period_ns_;         // ask
  std::atomic<bool> stop_{false};               // ask, late
  std::atomic<std::uint32_t> wake_{0};          // ask; the word the sampler sleeps on
  std::atomic<std::int64_t> asleep_until_{0};   // asleep
  std::atomic<std::uint32_t> in_step_{0};       // fresh, step; the word that askers sleep on
  std::atomic<std::uint32_t> waiting_{0};       // threads in wait_in_step(); fresh

  Count polls_, missed_ticks_;
  std::array<Count, kHistogramSize> wakeup_ns_, read_ns_;

  mutable std::mutex thread_mutex_;  // guards the two below; never taken by the sampler thread
  std::unique_ptr<std::thread> thread_;
  std::int64_t cpu_ns_before_ = 0;  // of threads that are over; each adds its own before stop() has joined it
  std::atomic<int> owner_pid_{0};   // who called start(); relaxed: it matters only after a fork
};

}  // namespace powerprobe
