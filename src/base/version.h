#pragma once
#include <string>

namespace outlast {

/// Of this program, "0.1.0". Alone in its file: a test links a program of another version by defining it itself.
std::string program_version();

}  // namespace outlast
