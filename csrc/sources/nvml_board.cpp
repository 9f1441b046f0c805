// SPDX-License-Identifier: MIT
#include "sources/nvml_board.hpp"

#include <algorithm>
#include <utility>

#include "core/clock.hpp"
#include "sources/nvml_errors.hpp"

namespace powerprobe {
namespace {

Reading failed(NvmlReturn code) { return {.status = nvml_status(code), .error = nvml_errno(code)}; }

Reading told(const EnergyNews& news) {
  if (!news.is_news) return {.status = ReadStatus::kNoNews};
  return {.count = news.microjoules, .at_ns = std::max<std::int64_t>(news.at_ns, 1)};
}

}  // namespace

NvmlBoard::NvmlBoard(std::shared_ptr<const NvmlApi> api, NvmlDevice device, std::vector<Part> parts)
    : api_(std::move(api)), device_(device) {
  for (Part& part : parts) {
    Reader reader;
    reader.way = part.way;
    reader.buffer = std::move(part.buffer);
    if (!reader.buffer && part.way.call == NvmlWay::Call::kField) {
      reader.entry = entries_.size();
      NvmlFieldValue entry{};
      entry.field = part.way.field;
      entry.scope = part.way.scope;
      entries_.push_back(entry);
    }
    if (part.channel.provenance == Provenance::kIntegrated) {
      reader.integral.emplace(part.timing.period_ns, part.timing.window_ns);
    }
    readers_.push_back(std::move(reader));
    channels_.push_back(std::move(part.channel));
  }
}

void NvmlBoard::read(std::span<Reading> out) noexcept {
  const bool is_rest = has_more();
  if (!is_rest) {
    wall_.look();
    read_fields();
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    Reader& reader = readers_[i];
    if (reader.buffer) {
      if (!is_rest) reader.buffer->fill(*api_, device_, wall_);
      const NvmlReturn code = reader.buffer->code();
      out[i] = code == nvml::kSuccess ? told(reader.buffer->next()) : failed(code);
    } else if (is_rest) {
      out[i] = {.status = ReadStatus::kNoNews};
    } else {
      out[i] = reading(reader);
    }
  }
}

bool NvmlBoard::has_more() const noexcept {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const Reader& reader) { return reader.buffer && reader.buffer->has_more(); });
}

void NvmlBoard::read_fields() noexcept {
  if (entries_.empty()) return;
  for (NvmlFieldValue& entry : entries_) entry.result = nvml::kUnknown;  // an entry that is left out must not look like the last
  entries_before_ns_ = now_ns();
  entries_code_ = api_->field_values(device_, static_cast<int>(entries_.size()), entries_.data());
  entries_after_ns_ = now_ns();
}

NvmlBoard::Raw NvmlBoard::raw(const Reader& reader) const noexcept {
  Raw raw;
  if (reader.way.call == NvmlWay::Call::kField) {
    const NvmlFieldValue& entry = entries_[reader.entry];
    raw.before_ns = entries_before_ns_;
    raw.after_ns = entries_after_ns_;
    raw.stamp_us = entry.timestamp_us;
    raw.latency_us = entry.latency_us;
    raw.code = entries_code_ != nvml::kSuccess ? entries_code_ : entry.result;
    if (raw.code == nvml::kSuccess && !nvml_number(entry, raw.value)) raw.code = nvml::kUnknown;
    return raw;
  }
  raw.before_ns = now_ns();
  if (reader.way.call == NvmlWay::Call::kEnergy) {
    unsigned long long mj = 0;
    raw.code = api_->energy(device_, &mj);
    raw.value = mj;
  } else {
    unsigned int mw = 0;
    raw.code = api_->power_usage(device_, &mw);
    raw.value = mw;
  }
  raw.after_ns = now_ns();
  return raw;
}

Reading NvmlBoard::reading(Reader& reader) noexcept {
  const Raw now = raw(reader);
  if (now.code != nvml::kSuccess) return failed(now.code);
  if (reader.integral) return told(reader.integral->look(now.value, now.before_ns, now.after_ns));
  if (now.stamp_us == 0) return {.count = now.value};
  const StampTrust::Step step = reader.trust.look({.value = now.value,
                                                   .stamp_us = now.stamp_us,
                                                   .latency_us = now.latency_us,
                                                   .before_ns = now.before_ns,
                                                   .after_ns = now.after_ns},
                                                  wall_);
  return {.count = now.value, .at_ns = step.at_ns, .gap_ns = step.gap_ns};
}

}  // namespace powerprobe
