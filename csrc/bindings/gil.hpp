// SPDX-License-Identifier: MIT
// Letting other Python threads run while this one waits.
#pragma once

#include <unistd.h>

#include "bindings/pybind.hpp"

namespace powerprobe::bindings {

// In place of py::gil_scoped_release, whose destructor is noexcept: until Python 3.14 a daemon thread that wants the GIL back
// while the interpreter ends is ended by unwinding its stack, and a program that was about to exit in peace aborts. Here such
// a thread stays where it is until the process is gone, as it does in Python 3.14.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // nothing else is thrown here; by its name (abi::__forced_unwind&) it would be a reference to nothing
      while (true) ::pause();
    }
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace powerprobe::bindings
