// SPDX-License-Identifier: MIT
// A source between its opening and the probe that takes it; shared by the bindings files that make and take one.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "bindings/pybind.hpp"
#include "core/source.hpp"

namespace powerprobe::bindings {

class OpenedSource {
 public:
  explicit OpenedSource(std::unique_ptr<Source> source) : source_(std::move(source)), channels_(source_->channels()) {}

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return channels_; }

  // Null once it was taken: a source is read by one thread only. Any thread.
  std::unique_ptr<Source> take() {
    const std::lock_guard lock(mutex_);
    return std::move(source_);
  }

 private:
  std::mutex mutex_;  // guards source_
  std::unique_ptr<Source> source_;
  std::vector<ChannelInfo> channels_;
};

}  // namespace powerprobe::bindings
