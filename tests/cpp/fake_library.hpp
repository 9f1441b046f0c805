// SPDX-License-Identifier: MIT
// A fake libnvidia-ml.so.1 of the test's own: a copy of what was built, so that nothing is left in it from the test before.
#pragma once

#include <dlfcn.h>

#include <filesystem>
#include <stdexcept>
#include <string>

#include "sources/found.hpp"
#include "tree.hpp"

namespace powerprobe::test {

class FakeLibrary {
 public:
  // `script` as tests/nvml/script.h says. Stays loaded when the test is over: a thread may hang in it.
  FakeLibrary(const std::string& built, const std::string& script) : path_(tree_.root() / "libnvidia-ml.so.1") {
    std::filesystem::copy_file(built, path_);
    library_ = ::dlopen(path_.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library_ == nullptr) throw std::runtime_error(::dlerror());
    this->script(script);
  }

  // Nothing of this machine but the fake.
  [[nodiscard]] Roots roots() const {
    Roots roots;
    roots.sys = tree_.root() / "sys";
    roots.dev = tree_.root() / "dev";
    roots.proc = tree_.root() / "proc";
    roots.nvml = path_;
    return roots;
  }
  [[nodiscard]] const Tree& tree() const { return tree_; }

  void script(const std::string& text) const { function<void(const char*)>("fake_nvml_script")(text.c_str()); }
  [[nodiscard]] unsigned long long calls(const char* name, int board = -1) const {
    return function<unsigned long long(const char*, int)>("fake_nvml_calls")(name, board);
  }
  void release() const { function<void()>("fake_nvml_release")(); }
  void freeze(long long t_ns) const { function<void(long long)>("fake_nvml_freeze")(t_ns); }
  [[nodiscard]] long long start_ns() const { return function<long long()>("fake_nvml_start_ns")(); }

 private:
  template <typename Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(::dlsym(library_, name));
  }

  Tree tree_;
  std::string path_;
  void* library_ = nullptr;
};

}  // namespace powerprobe::test
