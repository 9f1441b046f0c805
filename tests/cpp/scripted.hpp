// SPDX-License-Identifier: MIT
// A source whose counters the test holds in its hand. The test sets readings on its thread, the sampler reads them on its own.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/sampler.hpp"
#include "core/source.hpp"

namespace powerprobe::test {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kHour = 3'600'000'000'000;

// When a wait that ought to be over at once is given up, and the test with it. Never waited for when all is well.
inline std::int64_t soon() { return now_ns() + 20'000 * kMs; }

// Returns when a poll that began after this call is over.
inline void poll(const Sampler& sampler) {
  const std::int64_t deadline_ns = soon();
  const std::uint64_t wanted = sampler.stats().polls + 2;  // one may be under way
  while (sampler.stats().polls < wanted && now_ns() < deadline_ns) ::usleep(10);
}

struct Script {
  std::mutex mutex;
  std::vector<Reading> readings;
  std::uint64_t counts_per_read = 0;  // added to every count at each reading: a counter under load
  std::uint64_t modulus = 0;          // of all counts; 0: none
  std::uint64_t reads = 0;
  std::function<void()> during_read;  // runs on the reading thread, not under the mutex

  void set(std::size_t channel, const Reading& reading) {
    const std::lock_guard lock(mutex);
    readings[channel] = reading;
  }
  void count(std::size_t channel, std::uint64_t count) { set(channel, {.count = count}); }
  void fail(std::size_t channel, ReadStatus status, int error) { set(channel, {.status = status, .error = error}); }
  void under_load(std::uint64_t counts) {
    const std::lock_guard lock(mutex);
    counts_per_read = counts;
  }
  [[nodiscard]] std::uint64_t reads_so_far() {
    const std::lock_guard lock(mutex);
    return reads;
  }
};

class ScriptedSource : public Source {
 public:
  ScriptedSource(std::vector<ChannelInfo> channels, std::shared_ptr<Script> script)
      : channels_(std::move(channels)), script_(std::move(script)) {
    if (script_->readings.empty()) script_->readings.resize(channels_.size());
  }

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }

  void read(std::span<Reading> out) noexcept override {
    if (script_->during_read) script_->during_read();
    const std::lock_guard lock(script_->mutex);
    ++script_->reads;
    for (std::size_t i = 0; i < out.size(); ++i) {
      script_->readings[i].count += script_->counts_per_read;
      if (script_->modulus != 0) script_->readings[i].count %= script_->modulus;
      out[i] = script_->readings[i];
    }
  }

 private:
  std::vector<ChannelInfo> channels_;
  std::shared_ptr<Script> script_;
};

// A counter of millijoules that is never older than a millisecond.
inline ChannelInfo millijoules(std::string name) {
  ChannelInfo channel;
  channel.name = std::move(name);
  channel.source = "scripted";
  channel.domain = "package";
  channel.path = "/a/script";
  channel.joules_per_count = 1e-3;
  channel.stale_ns = kMs;
  return channel;
}

}  // namespace powerprobe::test
