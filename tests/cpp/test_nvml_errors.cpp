// SPDX-License-Identifier: MIT
#include "sources/nvml_errors.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <set>

using namespace powerprobe;

namespace {
const char* known_text(NvmlReturn code) { return code == 29 ? "Invalid State" : nullptr; }
}  // namespace

TEST_CASE("codes that a reset or reboot alone mends end a channel, those of rights and abilities too, others are tried again") {
  for (const NvmlReturn code : {1, 15, 16, 28}) CHECK(nvml_status(code) == ReadStatus::kGone);
  for (const NvmlReturn code : {3, 4}) CHECK(nvml_status(code) == ReadStatus::kFatal);
  for (const NvmlReturn code : {2, 6, 8, 10, 11, 13, 14, 17, 19, 20, 21, 23, 26, 27, 29, 999, 12345, -1}) {
    CAPTURE(code);
    CHECK(nvml_status(code) == ReadStatus::kRetry);
  }
  CHECK(nvml_status(0) == ReadStatus::kOk);
}

TEST_CASE("every code has an errno for people, success has none") {
  CHECK(nvml_errno(0) == 0);
  CHECK(nvml_errno(15) == ENODEV);
  CHECK(nvml_errno(16) == ENODEV);
  CHECK(nvml_errno(4) == EACCES);
  CHECK(nvml_errno(10) == ETIMEDOUT);
  CHECK(nvml_errno(3) == EOPNOTSUPP);
  CHECK(nvml_errno(999) == EIO);
  CHECK(nvml_errno(12345) == EIO);
}

TEST_CASE("each failure that people can mend has a remedy of its own") {
  const NvmlApi api;
  std::set<std::string> remedies;
  for (const NvmlReturn code : {4, 9, 10, 15, 16, 18, 999}) {
    CAPTURE(code);
    const Error error = nvml_error(api, code, "00000000:65:00.0", 3);
    CHECK_FALSE(error.remedy().empty());
    CHECK(remedies.insert(error.remedy()).second);
    CHECK(error.path() == "00000000:65:00.0");
    CHECK(error.error() == nvml_errno(code));
  }
  CHECK(nvml_error(api, 4, "x").kind() == ErrorKind::kPermission);
  CHECK(nvml_error(api, 15, "x").kind() == ErrorKind::kGone);
  CHECK(nvml_error(api, 16, "x", 3).remedy().find("--gpu-reset -i 3") != std::string::npos);
  CHECK(nvml_error(api, 16, "x").remedy().find("--gpu-reset -i N") != std::string::npos);
}

TEST_CASE("an unknown code is told with its number, and in the library's words if it has any") {
  NvmlApi api;
  CHECK(std::string(nvml_error(api, 29, "x").what()) == "NVML answers 29");
  api.error_string = known_text;
  CHECK(std::string(nvml_error(api, 29, "x").what()) == "NVML answers 29 (Invalid State)");
  CHECK(std::string(nvml_error(api, 777, "x").what()) == "NVML answers 777");
}
