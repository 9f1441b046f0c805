// SPDX-License-Identifier: MIT
// A source between its opening and the probe that takes it; shared by the bindings files that make and take one.
#pragma once

#include <memory>
#include <utility>

#include "bindings/pybind.hpp"
#include "core/error.hpp"
#include "core/source.hpp"

namespace powerprobe::bindings {

class OpenedSource {
 public:
  explicit OpenedSource(std::unique_ptr<Source> source) : source_(std::move(source)) {}

  // Throws Error (kBadArgument) once it was taken: a source is read by one thread only.
  [[nodiscard]] const Source& get() const {
    if (!source_) throw Error(ErrorKind::kBadArgument, "this source already belongs to a probe; open another");
    return *source_;
  }
  std::unique_ptr<Source> take() {
    (void)get();
    return std::move(source_);
  }

 private:
  std::unique_ptr<Source> source_;
};

}  // namespace powerprobe::bindings
