// SPDX-License-Identifier: MIT
// The probe that all of this process share: one at a time, from the first who opens it to the last who has it.
#pragma once

#include <memory>

#include "capi/opened.hpp"

namespace powerprobe::capi {

// Any thread. In the child of a fork it is another one. Throws Error.
std::shared_ptr<Opened> open_shared();

// Inside Python its own process-wide probe is the one. Called once, before anybody can call open_shared(); may throw.
using Opener = std::shared_ptr<Opened> (*)();
void set_shared_opener(Opener opener) noexcept;

// The functions of powerprobe.h, for the capsule.
const pp_api& api() noexcept;

}  // namespace powerprobe::capi
