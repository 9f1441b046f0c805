// SPDX-License-Identifier: MIT
#include "sources/nvml_api.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "fake_library.hpp"

using namespace powerprobe;
using test::FakeLibrary;

namespace {

Error refusal_of(const Roots& roots, std::chrono::milliseconds time = kNvmlInitTime) {
  try {
    (void)open_nvml(roots, time);
  } catch (const Error& error) {
    return error;
  }
  FAIL("should have thrown");
  throw 0;
}

std::ptrdiff_t threads_here() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a library is loaded and initialised once, however many ask at the same time or later") {
  const FakeLibrary fake(FAKE_NVML, "board\n");
  const Roots roots = fake.roots();
  const auto first = open_nvml(roots);
  REQUIRE(first != nullptr);
  std::vector<std::shared_ptr<const NvmlApi>> opened(4);
  std::vector<std::thread> threads;
  for (auto& api : opened) threads.emplace_back([&api, &roots] { api = open_nvml(roots); });
  for (auto& thread : threads) thread.join();
  for (const auto& api : opened) CHECK(api == first);
  CHECK(fake.calls("nvmlInit_v2") == 1);
  CHECK(fake.calls("nvmlShutdown") == 0);
}

TEST_CASE("what a library does not have is missing in the table, and nothing else") {
  const FakeLibrary fake(FAKE_NVML, "board\n");
  const auto all = open_nvml(fake.roots());
  CHECK(static_cast<bool>(all->uuid));
  CHECK(static_cast<bool>(all->name));
  CHECK(static_cast<bool>(all->pci));
  CHECK(static_cast<bool>(all->error_string));
  CHECK(static_cast<bool>(all->driver_version));
  CHECK(static_cast<bool>(all->compute_capability));
  CHECK(static_cast<bool>(all->cores));
  CHECK(static_cast<bool>(all->max_clock));
  CHECK(static_cast<bool>(all->limits));
  CHECK(static_cast<bool>(all->enforced_limit));
  CHECK(static_cast<bool>(all->mig_mode));
  CHECK(static_cast<bool>(all->mig_count));
  CHECK(static_cast<bool>(all->mig_device));
  CHECK(static_cast<bool>(all->energy));
  CHECK(static_cast<bool>(all->power_usage));
  CHECK(static_cast<bool>(all->field_values));
  CHECK(static_cast<bool>(all->buffered));

  const FakeLibrary old(FAKE_NVML_WITHOUT_FIELDS, "board\n");
  const auto less = open_nvml(old.roots());
  CHECK_FALSE(static_cast<bool>(less->field_values));
  CHECK(static_cast<bool>(less->pci));
  CHECK(static_cast<bool>(less->power_usage));

  const FakeLibrary minimal(FAKE_NVML_MINIMAL, "board\n");
  const auto least = open_nvml(minimal.roots());
  CHECK_FALSE(static_cast<bool>(least->pci));
  CHECK(static_cast<bool>(least->power_usage));
}

TEST_CASE("no library: no driver here, or one that this container does not show") {
  const Tree tree;
  Roots roots;
  roots.proc = tree.root() / "proc";
  roots.nvml = tree.root() / "libnvidia-ml.so.1";
  const Error none = refusal_of(roots);
  CHECK(none.kind() == ErrorKind::kUnavailable);
  CHECK(none.error() == ENOENT);
  CHECK(none.path() == roots.nvml);
  CHECK(std::string(none.what()) == "no NVIDIA driver here");
  CHECK(says(none.remedy(), "--gpus all"));

  tree.write("proc/driver/nvidia/version", "NVRM version");
  const Error hidden = refusal_of(roots);
  CHECK(says(hidden.what(), "the NVIDIA driver is loaded"));
  CHECK(says(hidden.remedy(), "NVIDIA_DRIVER_CAPABILITIES=utility"));
}

TEST_CASE("a file that is no library, and a library that is another one, say so") {
  const Tree tree;
  tree.write("libnvidia-ml.so.1", "this is text, and long enough to be no header of a library at all: 64 bytes and more of it");
  Roots roots;
  roots.nvml = tree.root() / "libnvidia-ml.so.1";
  const Error text = refusal_of(roots);
  CHECK(says(text.what(), "cannot be loaded"));
  CHECK_FALSE(text.remedy().empty());

  roots.nvml = "libm.so.6";
  const Error other = refusal_of(roots);
  CHECK(says(other.what(), "has no function nvmlInit_v2"));
  CHECK(other.error() == ENOSYS);
}

TEST_CASE("a driver that will not start says why, and is asked again the next time") {
  const FakeLibrary fake(FAKE_NVML, "init_error 18\nboard\n");
  const Error mismatch = refusal_of(fake.roots());
  CHECK(says(mismatch.what(), "different versions"));
  CHECK(says(mismatch.remedy(), "reboot"));
  fake.script("init_error 9\nboard\n");
  CHECK(says(refusal_of(fake.roots()).remedy(), "modprobe nvidia"));
  fake.script("init_error 4\nboard\n");
  CHECK(refusal_of(fake.roots()).kind() == ErrorKind::kPermission);
  fake.script("init_error 999\nboard\n");
  CHECK(says(refusal_of(fake.roots()).what(), "NVML answers 999 ("));
  fake.script("board\n");
  CHECK(open_nvml(fake.roots()) != nullptr);
}

TEST_CASE("the child of a fork initialises the library for itself") {
  const FakeLibrary fake(FAKE_NVML, "board\n");
  const Roots roots = fake.roots();
  const auto before = threads_here();
  (void)open_nvml(roots);
  // ThreadSanitizer lets no child start threads whose parent had any.
  for (const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
       threads_here() > before && std::chrono::steady_clock::now() < deadline;) {
    std::this_thread::yield();
  }
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto inits = fake.calls("nvmlInit_v2");
    bool good = open_nvml(roots) != nullptr && fake.calls("nvmlInit_v2") == inits + 1;
    good = good && open_nvml(roots) != nullptr && fake.calls("nvmlInit_v2") == inits + 1;
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

// Leaves a thread that hangs, so it is the last.
TEST_CASE("a driver that does not come back is given up") {
  const FakeLibrary fake(FAKE_NVML, "init_delay_ms 600000\nboard\n");
  const Error error = refusal_of(fake.roots(), std::chrono::milliseconds(50));
  CHECK(error.error() == ETIMEDOUT);
  CHECK(says(error.what(), "did not answer within 50 ms"));
}
