// SPDX-License-Identifier: MIT
// One native thread that reads one source and writes its channels' rings. It polls at a fixed rate while somebody asks, else
// just often enough that no counter can wrap unseen.
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
#include "core/recorder.hpp"
#include "core/ring.hpp"
#include "core/source.hpp"

namespace powerprobe {

struct SamplerOptions {
  std::int64_t period_ns = 1'000'000;  // between two polls while somebody asks
  std::size_t capacity = 1 << 16;      // edges kept per channel, at least
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
//   ask     asker: askers_, inbox_ or stop_, then wake_ (release)  ->  sampler: wake_.load(acquire)   it sees why it was woken
//   inbox   asker: inbox_ push (release)       ->  sampler: inbox_.exchange(acquire)   the mark in it is complete
//   quiet   asker: inbox_ push, then askers_.load()  <->  sampler: askers_.load(), then inbox_.load()
//              all sequentially consistent: a mark is not left lying by a sampler that goes to sleep
//   late    asker: inbox_ push, then stop_.load()  <->  stop(): stop_.store(), then inbox_.exchange() after the join
//              sequentially consistent: a mark that comes too late for the thread is filled in by one of the two
//   fresh   sampler: finished_.store(), then waiting_.load()  <->  asker: waiting_ up, then finished_.load()
//              sequentially consistent: nobody sleeps through the poll that it waits for; finished_ also publishes its edges
class Sampler {
 public:
  // Takes the first reading, on the caller's thread, so that its errors reach the caller: throws Error when no channel can be
  // read. `first_channel` is the index of the source's first channel within the probe.
  Sampler(std::unique_ptr<Source> source, std::size_t first_channel, const SamplerOptions& options);

  // Stops. In the child of a fork, where the thread does not exist, it is left alone.
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  // Throws Error (kUnavailable) when there is no thread to be had, and in the child of a fork. May be called twice, and again
  // after stop().
  void start();

  // Immediate; marks that are still pending or come later become kUnsettled. May be called twice, from any thread.
  void stop() noexcept;

  // Started by another process, of which this one is a fork: its thread is not here.
  [[nodiscard]] bool is_forked_copy() const noexcept;

  // While asked for, the sampler polls at its rate. Calls nest. True: it was quiet before.
  bool ask() noexcept;
  void release() noexcept;

  // Polls are numbered: the one that begins next, and the first since somebody asks.
  [[nodiscard]] std::uint32_t next_poll() const noexcept { return begun_.load(std::memory_order_relaxed) + 1; }
  [[nodiscard]] std::uint32_t asked_poll() const noexcept { return asked_poll_.load(std::memory_order_relaxed); }

  // Waits until the poll of that number is over, or the deadline.
  void wait_for_poll(std::uint32_t number, std::int64_t deadline_ns) noexcept;

  // The sampler fills in its channels' slots. Never blocks while the sampler runs.
  void add(std::shared_ptr<Mark> mark);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return source_->channels(); }
  [[nodiscard]] const std::shared_ptr<Ring>& ring(std::size_t channel) const noexcept { return recorders_[channel]->ring(); }
  [[nodiscard]] ChannelStats channel_stats(std::size_t channel) const noexcept;
  [[nodiscard]] SamplerStats stats() const noexcept;

 private:
  struct PendingMark {
    std::shared_ptr<Mark> mark;
    PendingMark* next = nullptr;
  };

  void run() noexcept;
  void poll(std::int64_t before, bool late) noexcept;  // `before`: a clock reading from just now
  void fill_marks(std::int64_t now, bool give_up) noexcept;
  bool fill(Mark& mark, bool give_up) noexcept;
  void wake() noexcept;

  std::unique_ptr<Source> source_;
  std::size_t first_channel_;
  std::int64_t period_ns_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::vector<Reading> readings_;
  PendingMark* pending_ = nullptr;  // sampler thread; when there is none, who holds thread_mutex_

  std::atomic<PendingMark*> inbox_{nullptr};  // inbox, quiet
  std::atomic<std::uint32_t> askers_{0};      // ask, quiet
  std::atomic<bool> stop_{false};             // ask, late
  std::atomic<std::uint32_t> wake_{0};        // ask; the word the sampler sleeps on
  std::atomic<std::uint32_t> begun_{0};       // polls; written by the sampler only
  std::atomic<std::uint32_t> finished_{0};    // fresh
  std::atomic<std::uint32_t> asked_poll_{0};  // relaxed: read by the asker that wrote it
  std::atomic<std::uint32_t> waiting_{0};     // threads in wait_for_poll(); fresh

  Count polls_, missed_ticks_;
  std::array<Count, kHistogramSize> wakeup_ns_, read_ns_;

  mutable std::mutex thread_mutex_;  // guards the two below; never taken by the sampler thread
  std::unique_ptr<std::thread> thread_;
  std::int64_t cpu_ns_before_ = 0;  // of threads that are over; each adds its own before stop() has joined it
  std::atomic<int> owner_pid_{0};   // who called start(); relaxed: it matters only after a fork
};

}  // namespace powerprobe
