// SPDX-License-Identifier: MIT
// A folder of the test's own that looks like /sys or /proc; gone when the test ends.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace powerprobe {

class Tree {
 public:
  Tree() {
    std::string name = (std::filesystem::temp_directory_path() / "powerprobe_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    root_ = name;
    // Other users may look in: that is what tests of missing permission need.
    std::filesystem::permissions(root_, std::filesystem::perms(0755));
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }

  // Ends the text with a new line, as the kernel does.
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream file(root_ / name);
    file << text << '\n';
    if (!file.flush()) throw std::runtime_error("write " + name);
  }

 private:
  std::filesystem::path root_;
};

}  // namespace powerprobe
