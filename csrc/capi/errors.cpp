// SPDX-License-Identifier: MIT
#include "capi/errors.hpp"

#include <cstdio>

namespace powerprobe::capi {
namespace {

struct LastError {
  char message[2048] = "";
  char path[512] = "";
  char remedy[1024] = "";
  pp_error error{};
};

// Constant initialization: the first use in a thread runs no code and allocates nothing of ours.
constinit thread_local LastError t_last;

pp_status note(pp_status status, int system_error, const char* message, const char* path, const char* remedy) noexcept {
  std::snprintf(t_last.message, sizeof t_last.message, "%s", message);
  std::snprintf(t_last.path, sizeof t_last.path, "%s", path);
  std::snprintf(t_last.remedy, sizeof t_last.remedy, "%s", remedy);
  t_last.error.status = status;
  t_last.error.system_error = system_error;
  return status;
}

pp_status status_of(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::kPermission:
      return PP_PERMISSION;
    case ErrorKind::kUnavailable:
      return PP_UNAVAILABLE;
    case ErrorKind::kBadArgument:
      return PP_BAD_ARGUMENT;
    case ErrorKind::kOverrun:
      return PP_OVERRUN;
    case ErrorKind::kOutOfRange:
      return PP_OUT_OF_RANGE;
    case ErrorKind::kTimeout:
      return PP_TIMEOUT;
    case ErrorKind::kGone:
      return PP_GONE;
  }
  return PP_INTERNAL;
}

}  // namespace

pp_status fail(const Error& error) noexcept {
  return note(status_of(error.kind()), error.error(), error.what(), error.path().c_str(), error.remedy().c_str());
}

pp_status fail(pp_status status, const char* message) noexcept { return note(status, 0, message, "", ""); }

pp_status fail_with_current() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return fail(error);
  } catch (const std::bad_alloc&) {
    return fail(PP_NO_MEMORY, "there is no memory left");
  } catch (const std::exception& error) {
    return fail(PP_INTERNAL, error.what());
  } catch (...) {
    return fail(PP_INTERNAL, "something was thrown that is no exception");
  }
}

void bad_argument(const std::string& message) { throw Error(ErrorKind::kBadArgument, message); }

}  // namespace powerprobe::capi

extern "C" const pp_error* pp_last_error(void) {
  using powerprobe::capi::t_last;
  t_last.error.struct_size = sizeof(pp_error);
  t_last.error.message = t_last.message;
  t_last.error.path = t_last.path;
  t_last.error.remedy = t_last.remedy;
  return &t_last.error;
}
