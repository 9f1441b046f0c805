// SPDX-License-Identifier: MIT
// Runs what may hang on a thread of its own and waits for it only so long. Used while something is opened, on any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "core/error.hpp"
#include "core/without_signals.hpp"

namespace powerprobe {

// What the function returned, or nothing if it was not over in time; what it threw is thrown here. One that comes too late goes
// on by itself, possibly for ever, and what it returns then is destroyed: it must own all that it uses (no references into the
// caller), and so must what it returns. Throws Error (kUnavailable) where no thread can be had.
template <typename Function>
auto run_within(std::chrono::nanoseconds time, Function function) -> std::optional<std::invoke_result_t<Function>> {
  struct Shared {
    std::mutex mutex;
    std::condition_variable is_over;
    std::optional<std::invoke_result_t<Function>> result;
    std::exception_ptr error;
  };
  const auto shared = std::make_shared<Shared>();
  try {
    const WithoutSignals blocked;
    std::thread([shared, function = std::move(function)]() mutable {
      std::optional<std::invoke_result_t<Function>> result;
      std::exception_ptr error;
      try {
        result.emplace(function());
      } catch (...) {
        error = std::current_exception();
      }
      const std::lock_guard lock(shared->mutex);
      shared->result = std::move(result);
      shared->error = std::move(error);
      shared->is_over.notify_all();
    }).detach();
  } catch (const std::system_error& error) {
    throw Error(ErrorKind::kUnavailable, std::string("cannot start a thread: ") + error.what(), {}, error.code().value(),
                "raise the limit on threads (ulimit -u)");
  }
  std::unique_lock lock(shared->mutex);
  shared->is_over.wait_for(lock, time, [&] { return shared->result.has_value() || shared->error != nullptr; });
  if (shared->error) std::rethrow_exception(std::exchange(shared->error, nullptr));
  return std::exchange(shared->result, std::nullopt);
}

}  // namespace powerprobe
