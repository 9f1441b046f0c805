// SPDX-License-Identifier: MIT
// A source with whoever reads it. It outlives both its sampler and the thread that reads, because a reading can hang: then the
// thread is left behind in it, and what the thread still holds is this.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/source.hpp"

namespace powerprobe {

// Read by one thread at a time, watched by another.
//
//   left   reader: since_ns_ from 0 to now, read, then compare-exchange to 0
//            <->  watcher: compare-exchange from that to its negative
//          one of the two wins: who reads and loses was left behind, and touches nothing of its sampler any more
//   over   the reader that was left behind: since_ns_.store(0, release)  ->  the next reader: since_ns_.load(acquire)
//          the call is over, and what it did to the source is seen
class Call {
 public:
  explicit Call(std::unique_ptr<Source> source)
      : source_(std::move(source)), readings_(source_->channels().size()), may_hang_(!source_->thread().empty()) {}

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return source_->channels(); }
  [[nodiscard]] bool is_relay() const noexcept { return source_->is_relay(); }
  void ask_until(std::int64_t t_ns) noexcept { source_->ask_until(t_ns); }
  [[nodiscard]] bool may_hang() const noexcept { return may_hang_; }

  // begin_ns: the clock, just now. False: this thread was left behind meanwhile.
  [[nodiscard]] bool read(std::int64_t begin_ns) noexcept {
    if (!may_hang_) {
      source_->read(readings_);
      return true;
    }
    since_ns_.store(begin_ns, std::memory_order_release);  // left
    source_->read(readings_);
    std::int64_t expected = begin_ns;
    if (since_ns_.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) return true;  // left
    since_ns_.store(0, std::memory_order_release);  // over
    return false;
  }
  [[nodiscard]] bool has_more() const noexcept { return source_->has_more(); }
  void read_more() noexcept { source_->read(readings_); }

  // Of the last read() that was not left behind.
  [[nodiscard]] const std::vector<Reading>& readings() const noexcept { return readings_; }

  // Leaves the thread behind that has been reading since before then_ns. False: none has.
  bool leave(std::int64_t then_ns) noexcept {
    std::int64_t since = since_ns_.load(std::memory_order_acquire);
    return since > 0 && since <= then_ns && since_ns_.compare_exchange_strong(since, -since, std::memory_order_acq_rel);  // left
  }

  // Since when somebody who was left behind has been reading; 0: nobody is, it can be read.
  [[nodiscard]] std::int64_t hanging_since_ns() const noexcept {
    const std::int64_t since = since_ns_.load(std::memory_order_acquire);  // over
    return since < 0 ? -since : 0;
  }

 private:
  std::unique_ptr<Source> source_;
  std::vector<Reading> readings_;
  bool may_hang_;
  std::atomic<std::int64_t> since_ns_{0};
};

}  // namespace powerprobe
