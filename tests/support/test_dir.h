#pragma once
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/result.h"

namespace outlast::testing_support {

/// A fresh directory under the system's temporary one, removed with all it holds.
class TestDir {
 public:
  TestDir() {
    std::string name = (std::filesystem::temp_directory_path() / "outlast_test.XXXXXX").string();
    OUTLAST_ASSERT(::mkdtemp(name.data()) != nullptr, "no temporary directory");
    path_ = name;
  }
  ~TestDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestDir(const TestDir&) = delete;
  TestDir& operator=(const TestDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace outlast::testing_support
