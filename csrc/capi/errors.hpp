// SPDX-License-Identifier: MIT
// The border that no exception crosses: what is thrown becomes a status, and the last error of the calling thread.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "capi/powerprobe.h"
#include "core/error.hpp"

namespace powerprobe::capi {

// Notes it for pp_last_error() and returns the status. Longer texts are cut off: noting must not allocate.
pp_status fail(const Error& error) noexcept;
pp_status fail(pp_status status, const char* message) noexcept;

// What is being handled, in a catch block.
pp_status fail_with_current() noexcept;

[[noreturn]] void bad_argument(const std::string& message);

// Throws kBadArgument where a pointer that must be there is NULL.
inline void need(const void* pointer, const char* name) {
  if (pointer == nullptr) bad_argument(std::string(name) + " is NULL");
}

// A struct of the caller's, which is at least as long as that of the first release, unless it was not initialized.
inline void need_size(std::uint32_t size, std::size_t least, const char* name) {
  if (size < least) {
    bad_argument(std::string(name) + "->struct_size is " + std::to_string(size) +
                 ", which is too small; initialize it with its ..._INIT");
  }
}

template <typename Body>
pp_status guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return PP_OK;
  } catch (...) {
    return fail_with_current();
  }
}

}  // namespace powerprobe::capi
