// SPDX-License-Identifier: MIT
// Reads one source and writes its channels' rings, on the thread of its runner. While somebody asks it looks at the counters as its
// mode says, else just often enough that none can wrap unseen.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/call.hpp"
#include "core/count.hpp"
#include "core/mark.hpp"
#include "core/pacing.hpp"
#include "core/process.hpp"
#include "core/recorder.hpp"
#include "core/ring.hpp"
#include "core/runner.hpp"
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

// Made, started, asked and stopped on any thread; owns its source. What it does itself it does on its runner's thread.
//
//   ask     asker: askers_, asked_until_, mode_, period_ns_ or inbox_, then the wake word of Runner's bell (release)
//              ->  sampler: wake.load(acquire)   it sees why it was woken
//   inbox   asker: inbox_ push (release)       ->  sampler: inbox_.exchange(acquire)   the mark in it is complete
//   asleep  asker: inbox_ push or asked_until_, then asleep_until_ns.load() of Runner's bell
//              <->  thread: asleep_until_ns.store(), then inbox_.load() and asked_until_.load()
//              sequentially consistent: who comes while the thread goes to sleep is seen, or sees that it has to wake it
//   step    asker: askers_ or asked_until_, then in_step_.load()
//              <->  sampler going quiet: in_step_.store(0), then askers_.load() and asked_until_.load()
//              sequentially consistent: who is told that the sampler is in step is being served, and goes on being so
//   late    asker: inbox_ push, then Runner's stop_.load()  <->  stop(): stop_.store(), then inbox_.exchange() after the join
//              sequentially consistent: a mark that comes too late for the thread is filled in by one of the two
//   fresh   sampler: in_step_.store(1), then waiting_.load()  <->  asker: waiting_ up, then in_step_.load()
//              sequentially consistent: nobody sleeps through what it waits for; in_step_ also publishes the edges
class Sampler {
 public:
  // Takes the first reading, on the caller's thread, so that its errors reach the caller: throws Error when no channel can be
  // read. `first_channel` is the index of the source's first channel within the probe. Throws kPermission when the memory is to
  // be locked and may not be. Samplers of sources with the same thread() are given the same runner, before it is started.
  Sampler(std::unique_ptr<Source> source, std::size_t first_channel, const SamplerOptions& options,
          std::shared_ptr<Runner> runner = std::make_shared<Runner>());

  // Stops its runner. In the child of a fork, where the thread does not exist, it is left alone.
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Throws Error (kUnavailable) when there is no thread to be had, and in the child of a fork; kPermission when it was to run under
  // SCHED_FIFO and may not. May be called twice, and again after stop(). Starts all samplers of its runner.
  void start() { runner_->start(); }

  // Immediate; marks that are still pending or come later become kUnsettled. May be called twice, from any thread. Does not wait
  // for a reading that hangs. Stops all samplers of its runner.
  void stop() noexcept { runner_->stop(); }

  // Made by another process, of which this one is a fork: its thread is not here.
  [[nodiscard]] bool is_forked_copy() const noexcept { return runner_->is_forked_copy(); }

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

  // Takes effect at once. Of a relay: none, for how the counters are looked at is the other process's affair.
  void set_mode(Mode mode, std::int64_t period_ns) noexcept;

  // The sampler fills in its channels' slots. Never blocks while the sampler runs.
  void add(std::shared_ptr<Mark> mark);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return call_->channels(); }
  [[nodiscard]] const std::shared_ptr<Ring>& ring(std::size_t channel) const noexcept { return recorders_[channel]->ring(); }
  [[nodiscard]] const Recorder& recorder(std::size_t channel) const noexcept { return *recorders_[channel]; }
  [[nodiscard]] ChannelStats channel_stats(std::size_t channel) const noexcept { return recorders_[channel]->stats(); }
  [[nodiscard]] PaceStats pace_stats(std::size_t channel) const noexcept { return pacer_->stats(channel); }
  [[nodiscard]] SamplerStats stats() const noexcept;

  // A source for the child of a fork, made there: what this one, which runs in the parent, finds. This is the child's copy, which has
  // to outlive the source. `process`: the parent.
  [[nodiscard]] std::unique_ptr<Source> heir(std::shared_ptr<const Process> process) const;

  // ---- For its runner

  void begin() noexcept;   // there will be a thread
  void settle() noexcept;  // and now there is none any more
  // Takes a turn if one is due early_ns from now. Returns when the next is; kAtOnce: look again; kLeftBehind: the thread is not
  // this sampler's any more.
  static constexpr std::int64_t kAtOnce = INT64_MIN + 1;
  static constexpr std::int64_t kLeftBehind = INT64_MIN;
  std::int64_t step(std::int64_t early_ns) noexcept;
  // Whether somebody asks who may have come when the thread was on its way to sleep.
  [[nodiscard]] bool has_company() const noexcept;

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
  [[nodiscard]] bool is_asked_for(std::int64_t now) const noexcept;
  [[nodiscard]] std::int64_t asked_until_ns(std::int64_t now) const noexcept;
  [[nodiscard]] bool go_quiet(std::int64_t now) noexcept;
  [[nodiscard]] std::int64_t look_ns() const noexcept;
  void follow_mode(std::int64_t now) noexcept;
  bool turn(std::int64_t now) noexcept;
  std::int64_t poll(std::int64_t begin_ns, bool late, std::int64_t tight_ns) noexcept;  // begin_ns: the clock, just now
  void read_first();
  void take_all(std::int64_t begin_ns, std::int64_t end_ns, bool late, std::int64_t tight_ns) noexcept;
  void take(std::int64_t begin_ns, std::int64_t end_ns, bool late, std::int64_t tight_ns) noexcept;
  void take_nothing(std::int64_t since_ns, std::int64_t now) noexcept;
  [[nodiscard]] std::int64_t charge() noexcept;
  void say_in_step() noexcept;
  bool take_inbox() noexcept;
  void fill_marks(std::int64_t now, bool give_up) noexcept;
  bool fill(Mark& mark, bool give_up) noexcept;

  std::shared_ptr<Call> call_;
  std::shared_ptr<Runner> runner_;
  std::size_t first_channel_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::vector<Sight> sights_;  // what the last poll saw
  std::vector<StampMap> read_clocks_;  // by channel: of sources that say when they read it, on CLOCK_MONOTONIC
  std::unique_ptr<Pacing> pacer_;
  Turn turn_;
  std::int64_t charged_ns_ = 0;  // CPU time of the thread in its turns
  std::int64_t integration_ns_ = 0;  // the shortest update period of its power readings; 0: it has none
  bool has_ended_ = false;
  PendingMark* pending_ = nullptr;  // the runner's thread; when there is none, who holds its mutex

  std::atomic<PendingMark*> inbox_{nullptr};    // inbox, asleep
  std::atomic<std::uint32_t> askers_{0};        // ask, step
  std::atomic<std::int64_t> asked_until_{0};    // ask, asleep, step
  std::atomic<std::uint32_t> watchers_{0};      // relaxed: noticed when the sampler next goes to sleep; an ask goes before it
  std::atomic<std::int64_t> watched_since_ns_{0};  // the same
  std::atomic<Mode> mode_;                      // ask
  std::atomic<std::int64_t> period_ns_;         // ask
  std::atomic<std::uint32_t> in_step_{0};       // fresh, step; the word that askers sleep on
  std::atomic<std::uint32_t> waiting_{0};       // threads in wait_in_step(); fresh

  Count polls_, missed_ticks_, cpu_ns_;
  std::array<Count, kHistogramSize> wakeup_ns_, read_ns_;
};

}  // namespace powerprobe
