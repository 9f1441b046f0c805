// SPDX-License-Identifier: MIT
// The one exception of the C++ core. Thrown when something is opened or asked for, never while reading.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace powerprobe {

enum class ErrorKind : std::uint8_t {
  kPermission,    // it is there, this process may not read it
  kUnavailable,   // it is not there, or this machine cannot have it
  kBadArgument,   // the caller's mistake; the message names the argument
  kOverrun,       // a question about a time that the ring no longer holds
  kOutOfRange,    // a question about a time before the first edge or in the future
  kTimeout,       // the edge after the end of an interval did not come in time
  kGone,          // the channel ended (device lost, driver unloaded)
};

// What happened, where, the system's error number (0 when none) and the command or setting that would help
// (empty when nothing would).
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what, std::string path = {}, int error = 0, std::string remedy = {})
      : std::runtime_error(what), kind_(kind), path_(std::move(path)), error_(error), remedy_(std::move(remedy)) {}

  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] int error() const noexcept { return error_; }
  [[nodiscard]] const std::string& remedy() const noexcept { return remedy_; }

 private:
  ErrorKind kind_;
  std::string path_;
  int error_;
  std::string remedy_;
};

}  // namespace powerprobe
